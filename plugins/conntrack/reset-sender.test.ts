import type { RawSender } from '@loxilb/sdk';
import { describe, expect, it } from 'vitest';
import { CtResetReason } from './layout.gen.js';
import { ResetSender } from './reset-sender.js';
import { resetEvent } from './testing/reset-events.js';

type Answer = ReturnType<RawSender['send']>;

/** Notes whom packets go to (last byte of an IPv4 address), and answers as told. */
function recorder(answer: (attempt: number) => Answer = () => 'sent') {
  const to: number[] = [];
  let attempts = 0;
  const sender: RawSender = {
    send(packet) {
      const result = answer(attempts++);
      if (result === 'sent') to.push(packet[19] as number);
      return result;
    },
  };
  return {
    to,
    sender,
    get attempts() {
      return attempts;
    },
  };
}

const event = (client: number, fields = {}) =>
  resetEvent({ key: { saddr: `10.0.0.${client}` }, ndaddr: `31.31.31.${client + 100}`, ...fields });

describe('ResetSender', () => {
  it('tells both ends, one flow after the other, and not before the reader of the ring is done', async () => {
    const { to, sender } = recorder();
    const resets = new ResetSender(sender);
    resets.take(event(1));
    resets.take(event(2, { reason: CtResetReason.CT_RESET_CUT }));
    expect(to).toEqual([]);
    await resets.settle();
    expect(to).toEqual([1, 101, 2, 102]);
    expect(resets.counts).toMatchObject({ flows: { idle: 1, cut: 1 }, sent: { client: 2, endpoint: 2 } });
  });

  it('tells only the client of a one-way flow', async () => {
    const { to, sender } = recorder();
    const resets = new ResetSender(sender);
    resets.take(event(1, { oneWay: 1 }));
    await resets.settle();
    expect(to).toEqual([1]);
    expect(resets.counts).toMatchObject({ oneWay: 1, sent: { client: 1, endpoint: 0 }, failed: { endpoint: 0 } });
  });

  it('goes on when one end cannot be told', async () => {
    const { to, sender } = recorder((attempt) => (attempt === 0 ? 'refused' : 'sent'));
    const resets = new ResetSender(sender);
    resets.take(event(1));
    resets.take(event(2, { nsaddr: 'fd00::1' }));
    await resets.settle();
    expect(to).toEqual([101, 2]);
    expect(resets.counts).toMatchObject({ sent: { client: 1, endpoint: 1 }, failed: { client: 1, endpoint: 1 } });
  });

  it('waits for a busy device and loses nothing', async () => {
    const { to, sender } = recorder((attempt) => ([1, 2, 5].includes(attempt) ? 'busy' : 'sent'));
    const resets = new ResetSender(sender);
    for (const client of [1, 2]) resets.take(event(client));
    await resets.settle();
    expect(to).toEqual([1, 101, 2, 102]);
    expect(resets.counts.failed).toEqual({ client: 0, endpoint: 0 });
  });

  it('gives a reset up when the device stays busy', async () => {
    const stuck = recorder(() => 'busy');
    const resets = new ResetSender(stuck.sender);
    resets.take(event(1));
    await resets.settle();
    expect(resets.counts).toMatchObject({ sent: { client: 0, endpoint: 0 }, failed: { client: 1, endpoint: 1 } });
    expect(stuck.attempts).toBeLessThan(30);
  });

  it('lets others have their turn during a burst', async () => {
    const { sender } = recorder();
    // By the work done between two turns: how long that takes depends on who else uses the machine.
    let [sinceTurn, most] = [0, 0];
    const slow: RawSender = {
      send(packet) {
        most = Math.max(most, ++sinceTurn);
        const end = performance.now() + 0.05;
        while (performance.now() < end);
        return sender.send(packet);
      },
    };
    const resets = new ResetSender(slow);
    for (let count = 0; count < 2000; count++) resets.take(event(1));
    const turn = (): void => {
      sinceTurn = 0;
      heart = setImmediate(turn);
    };
    let heart = setImmediate(turn);
    await resets.settle();
    clearImmediate(heart);
    expect(resets.counts.sent).toEqual({ client: 2000, endpoint: 2000 });
    // 200 ms of work in all.
    expect(most).toBeLessThan(2000);
  });

  it('counts what it has no room for, and takes more when there is room again', async () => {
    const { to, sender } = recorder();
    const resets = new ResetSender(sender, 2);
    for (const client of [1, 2, 3]) resets.take(event(client));
    await resets.settle();
    resets.take(event(4));
    await resets.settle();
    expect(to).toEqual([1, 101, 2, 102, 4, 104]);
    expect(resets.counts.lost).toBe(1);
  });
});
