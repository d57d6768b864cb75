import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { must, run } from './harness/index.js';

describe('the package as npm installs it', () => {
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), `lxt${process.pid}-package-`));
    await must('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], { timeoutMs: 60_000 });
    const install = [
      'install',
      '-g',
      '--prefix',
      folder,
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
    ];
    await must('bash', ['-c', `npm ${install.join(' ')} ${folder}/loxilb-*.tgz`], { timeoutMs: 180_000 });
  }, 300_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('starts loxilb', async () => {
    const { code, stdout } = await run(join(folder, 'bin/loxilb'), ['--help'], { cwd: '/' });
    expect(code).toBe(0);
    for (const option of ['--config', '--port', '--state-dir', '--bpf-dir', '--dataplane', '--cleanup']) {
      expect(stdout).toContain(option);
    }
  });

  it('starts loxicmd', async () => {
    const { code, stdout } = await run(join(folder, 'bin/loxicmd'), ['version'], { cwd: '/' });
    expect(code).toBe(0);
    expect(stdout).toMatch(/\d+\.\d+/);
  });

  it('brings the compiled packet path, the configuration and the licences', async () => {
    const root = join(folder, 'lib/node_modules/loxilb');
    for (const file of [
      'dist/bpf/loxilb.bpf.o',
      'loxilb.config.ts',
      'LICENSE',
      'bpf/LICENSE',
      'README.md',
      'CHANGELOG.md',
    ]) {
      expect(existsSync(join(root, file)), file).toBe(true);
    }
  });
});
