import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/**
 * A plugin author's day: the sdk as a tarball, a plugin in a folder that knows nothing of this repository, and the
 * daemon with that folder named in its config.
 */
const root = fileURLToPath(new URL('../..', import.meta.url));
const built = existsSync(join(root, 'dist/core/main.js'));

let dir: string;
let daemon: ChildProcess;
let port: number;

beforeAll(async () => {
  if (!built) throw new Error('dist is missing: run `npm run build` first');
  dir = mkdtempSync(join(tmpdir(), 'loxilb-packed-'));
  install();
  cpSync(join(root, 'sdk/examples/hello-plugin'), join(dir, 'hello-plugin'), { recursive: true });
  const config = { plugins: { version: {}, './hello-plugin': { maxGreetings: 2 } } };
  writeFileSync(join(dir, 'loxilb.config.json'), JSON.stringify(config), { mode: 0o600 });
  await start();
}, 120_000);

afterAll(async () => {
  if (daemon?.exitCode === null && daemon.signalCode === null) await stop('SIGKILL');
  rmSync(dir, { recursive: true, force: true });
});

/** From the tarball, without a registry: the one package the sdk needs is taken from this checkout. */
function install(): void {
  const packed = execFileSync('npm', ['pack', '--silent', '--pack-destination', dir], { cwd: join(root, 'sdk') });
  const dependencies = {
    '@loxilb/sdk': `file:${String(packed).trim().split('\n').at(-1)}`,
    zod: `file:${join(root, 'node_modules/zod')}`,
  };
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ private: true, type: 'module', dependencies }));
  execFileSync('npm', ['install', '--offline', '--no-audit', '--no-fund', '--silent'], { cwd: dir });
}

async function start(): Promise<void> {
  const options = ['--dataplane', 'memory', '--port', '0', '--state-dir', join(dir, 'state')];
  daemon = spawn(
    process.execPath,
    [join(root, 'bin/loxilb'), '--config', join(dir, 'loxilb.config.json'), ...options],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  for await (const line of createInterface({ input: daemon.stdout as NodeJS.ReadableStream })) {
    const entry = JSON.parse(line) as { msg: string; address?: { port: number } };
    if (entry.msg !== 'ready') continue;
    port = entry.address?.port ?? 0;
    daemon.stdout?.resume();
    return;
  }
  throw new Error('the daemon ended before it was ready');
}

async function stop(signal: NodeJS.Signals): Promise<void> {
  const ended = new Promise((resolve) => daemon.once('exit', resolve));
  daemon.kill(signal);
  await ended;
}

async function call(method: string, path: string, body?: unknown): Promise<{ status: number; text: string }> {
  const answer = await fetch(`http://127.0.0.1:${port}/netlox/v1${path}`, {
    method,
    ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  return { status: answer.status, text: await answer.text() };
}

function loxicmd(...args: string[]): string {
  return execFileSync(process.execPath, [join(root, 'bin/loxicmd'), '-p', String(port), ...args], { encoding: 'utf8' });
}

describe('hello from the packed sdk', () => {
  it('serves REST', async () => {
    expect((await call('POST', '/config/greeting', { NAME: 'world', times: 2 })).text).toBe('{"result":"Success"}\n');
    expect(JSON.parse((await call('GET', '/config/greeting/all')).text)).toEqual({
      greetingAttr: [{ name: 'world', text: 'hello', times: 2, programmed: true }],
    });
    expect(JSON.parse((await call('POST', '/config/greeting', { name: 'x', times: 99 })).text)).toEqual({
      code: 608,
      message: 'times in body should be less than or equal to 9',
    });
  });

  it('has commands, a table and a YAML kind', () => {
    expect(loxicmd('create', 'greeting', 'moon', '--text=good night')).toContain('Success');
    const table = loxicmd('get', 'greeting', '-o', 'wide');
    expect(table).toMatch(/NAME .*TEXT .*TIMES .*PROGRAMMED/);
    expect(table).toMatch(/moon .*good night .*1 .*true/);
    const file = join(dir, 'greeting.yaml');
    writeFileSync(file, 'apiVersion: netlox/v1\nkind: Greeting\nspec:\n  name: moon\n  times: 3\n');
    loxicmd('apply', '-f', file);
    expect(loxicmd('get', 'greeting')).toMatch(/moon .*hello .*3/);
    expect(loxicmd('delete', 'greeting', 'moon')).toContain('Success');
    expect(loxicmd('get', 'greeting')).not.toContain('moon');
  });

  it('tells errors of its own and of the data plane', async () => {
    const missing = await call('DELETE', '/config/greeting/name/nobody');
    expect([missing.status, JSON.parse(missing.text)]).toMatchObject([404, { error: { code: 'GREETING_UNKNOWN' } }]);
    await call('POST', '/config/greeting', { name: 'second' });
    const full = await call('POST', '/config/greeting', { name: 'third' });
    expect([full.status, JSON.parse(full.text)]).toMatchObject([507, { error: { code: 'DP_MAP_FULL' } }]);
  });

  it('has a metric and is on the OpenAPI page', async () => {
    expect((await call('GET', '/metrics')).text).toContain('loxilb_hello_greetings 2');
    const document = await fetch(`http://127.0.0.1:${port}/swagger.json`);
    expect(Object.keys(((await document.json()) as { paths: object }).paths)).toContain('/config/greeting');
  });

  it('is there again after kill -9', async () => {
    const before = (await call('GET', '/config/greeting/all')).text;
    await stop('SIGKILL');
    await start();
    expect((await call('GET', '/config/greeting/all')).text).toBe(before);
  });

  it('stops cleanly', async () => {
    await stop('SIGTERM');
    expect(daemon.exitCode).toBe(0);
  });
});
