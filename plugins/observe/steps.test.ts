import { expect, it } from 'vitest';
import { DpStep, type DpTraceStep } from './layout.gen.js';
import { describeStep } from './steps.js';

const labels = { serviceText: (id: number) => `service ${id}`, interface: (index: number) => `eth${index}` };

function textOf(step: Partial<DpTraceStep>, protocol = 6): string {
  return describeStep({ step: 0, a: 0, b: 0, c: 0, addr: '::', ...step }, { labels, protocol }).text;
}

it.each<[Partial<DpTraceStep>, string]>([
  [{ step: DpStep.STEP_PARSED, b: 6, c: 0x12, addr: '10.0.0.1' }, 'read: tcp SYN,ACK from 10.0.0.1'],
  [{ step: DpStep.STEP_PARSED, a: 4 }, 'read: too short for its headers: left to the kernel'],
  [
    { step: DpStep.STEP_FLOW_FOUND, a: 3, c: 7, addr: '10.0.0.9' },
    'belongs to a flow of service 7, which is est; goes to 10.0.0.9',
  ],
  [{ step: DpStep.STEP_FLOW_STATE, a: 1, b: 2 }, 'the flow goes from syn sent to syn ack'],
  [{ step: DpStep.STEP_FLOW_STATE, a: 3, b: 3 }, 'the flow stays est'],
  [{ step: DpStep.STEP_SERVICE_FOUND, a: 7, b: 3, c: 1 }, 'is for service 7: mode dsr, selection hash'],
  [{ step: DpStep.STEP_NO_SERVICE, a: 80 }, 'no service has this address and tcp port 80: not for the balancer'],
  [
    { step: DpStep.STEP_ENDPOINT, b: 80, c: 1, addr: '2001:db8::1' },
    'chosen: endpoint [2001:db8::1]:80, from a table of 1 place',
  ],
  [
    { step: DpStep.STEP_FLOW_OPENED, a: 3, b: 3, c: 80, addr: '10.0.0.1' },
    'a flow begins: addresses and ports stay, answers do not come back through here; direct server return, inside a tunnel',
  ],
  [
    { step: DpStep.STEP_WAY, a: 1, b: 2, c: 1500 },
    'way out: straight to the device, with MAC addresses that are known, eth2, MTU 1500',
  ],
  [{ step: DpStep.STEP_WAY, a: 3, b: 2, c: 0xffff }, 'way out: by the device, the kernel resolves the neighbour, eth2'],
  [{ step: DpStep.STEP_TOO_BIG, a: 1600, b: 1500 }, '1600 bytes do not fit the MTU of 1500'],
  [
    { step: DpStep.STEP_COUNTED, a: 9 },
    "counted as drop source: the client is not among the service's allowed sources",
  ],
  [{ step: 99 }, 'step 99, unknown to this daemon'],
])('%j: %s', (step, text) => {
  expect(textOf(step)).toBe(text);
});

it('has words for every step, and names it as the packet path does', () => {
  for (const [name, step] of Object.entries(DpStep)) {
    const described = describeStep({ step, a: 1, b: 0, c: 0, addr: '::' }, { labels, protocol: 17 });
    expect(described.step).toBe(name.slice('STEP_'.length).toLowerCase());
    expect(described.text).not.toContain('unknown');
  }
});
