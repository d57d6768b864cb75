import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../config/schema.js';
import { recordingLog } from '../testing/silent-log.js';
import { Daemon } from './daemon.js';

let dir: string;
let log: ReturnType<typeof recordingLog>;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'loxilb-daemon-'));
  log = recordingLog();
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function plugin(name: string, setup: string): void {
  const source = `import { definePlugin, z } from '@loxilb/sdk';
export default definePlugin({ name: '${name}', sdk: '^0.1.0', summary: 'x', config: z.strictObject({}), setup(ctx) { ${setup} } });`;
  writeFileSync(join(dir, `${name}.ts`), source);
}

function daemon(plugins: string[], api: object = {}): Daemon {
  const config = parseConfig(
    {
      plugins: Object.fromEntries(plugins.map((name) => [`./${name}.ts`, {}])),
      api: { port: 0, ...api },
      dataplane: { backend: 'memory', bpfDir: join(dir, 'bpf') },
      stateDir: join(dir, 'state'),
    },
    'test',
  );
  return new Daemon({
    config,
    configFile: join(dir, 'loxilb.config.ts'),
    objectFile: join(dir, 'none.o'),
    build: { version: '1.2.3', build: 'test' },
    log: () => log,
  });
}

const get = (running: Daemon, path: string) => fetch(`http://127.0.0.1:${running.address?.port}/netlox/v1${path}`);

describe('Daemon', () => {
  it('serves plugins, their state and metrics', async () => {
    plugin(
      'one',
      "ctx.operation({ method: 'GET', path: '/one', summary: '1', access: 'read', handle: () => ({ one: ctx.config }) });",
    );
    const running = daemon(['one']);
    await running.start();
    expect(await (await get(running, '/one')).json()).toEqual({ one: {} });
    expect(await (await get(running, '/plugins')).json()).toMatchObject({
      pluginAttr: [{ name: 'one', state: 'started' }],
    });
    const metrics = await get(running, '/metrics');
    expect(metrics.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(await metrics.text()).toContain('process_resident_memory_bytes');
    expect((await get(running, '/two')).status).toBe(404);
    expect(await running.stop()).toEqual([]);
  });

  it('takes down what had come up when a later step fails', async () => {
    plugin('flag', `ctx.onStop(() => { require('node:fs').writeFileSync('${join(dir, 'stopped')}', ''); });`);
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as { port: number };
    await expect(daemon(['flag'], { port }).start()).rejects.toThrow(/EADDRINUSE/);
    taken.close();
    expect(existsSync(join(dir, 'stopped'))).toBe(true);
    const again = daemon(['flag']);
    await again.start();
    await again.stop();
  });

  it('can do without an API', async () => {
    const running = daemon([], { enabled: false });
    await running.start();
    expect(running.address).toBeUndefined();
    await running.stop();
  });

  it('warns when it listens beyond this machine', async () => {
    const running = daemon([], { host: '0.0.0.0' });
    await running.start();
    expect(log.lines.some(({ level, text }) => level === 'warn' && text.startsWith('THE API LISTENS BEYOND'))).toBe(
      true,
    );
    await running.stop();
  });
});
