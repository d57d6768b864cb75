import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { must, run } from '../integration/harness/index.js';

const demo = fileURLToPath(new URL('../../scripts/demo.sh', import.meta.url));

describe('npm run demo', () => {
  afterAll(async () => {
    await run('bash', [demo, '--end']);
  });

  const namespaces = async (): Promise<string> => must('ip', ['netns', 'list']);

  it('shows requests spread over three servers and leaves nothing', async () => {
    const { stdout, stderr, code } = await run('bash', [demo], { timeoutMs: 120_000 });
    expect(code, stdout + stderr).toBe(0);
    for (const server of ['server1', 'server2', 'server3']) expect(stdout).toMatch(new RegExp(`^ +4 ${server}$`, 'm'));
    for (const table of ['EXT IP', 'PTYPE', 'SERVICE NAME', 'PORTNAME']) expect(stdout).toContain(table);
    expect(await namespaces()).not.toContain('llbdemo');
    expect(existsSync('/run/llbdemo')).toBe(false);
  });

  it('--keep leaves it running, --end ends it', async () => {
    const { stdout, stderr, code } = await run('bash', [demo, '--keep'], { timeoutMs: 120_000 });
    expect(code, stdout + stderr).toBe(0);
    const request = ['--net=/run/netns/llbdemo-client', 'curl', '-sS', '--max-time', '5', 'http://20.20.20.1:2020/'];
    expect(await must('nsenter', request)).toMatch(/^server\d/);
    await must('bash', [demo, '--end']);
    expect(await namespaces()).not.toContain('llbdemo');
    expect(existsSync('/run/llbdemo')).toBe(false);
  });
});
