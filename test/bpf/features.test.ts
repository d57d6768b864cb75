/** What is switched off costs nothing: its instructions are not even looked at by the verifier. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { addPlainService, conversation } from './conversation.js';
import { type Features, PacketPath } from './harness.js';
import { CLIENT_SIDE, kernelAccess } from './network.js';
import { buildFrame } from './reference/build.js';
import { type Bench, describePath, expectForwarded, expectUntouched, type Family } from './scenario.js';

const { allowed } = kernelAccess();
const PROGRAMS = ['tc_ingress', 'tc_egress'] as const;

function measure(features: Features): Record<string, { instructions: number; verifiedInstructions: number }> {
  const path = new PacketPath({ features });
  try {
    return Object.fromEntries(PROGRAMS.map((program) => [program, path.facts(program)]));
  } finally {
    path.close();
  }
}

function expectIgnored(bench: Bench, family: Family): void {
  addPlainService(bench, family, 'udp');
  const { request } = conversation(family, 'udp');
  expectUntouched(bench.receive(request, CLIENT_SIDE), buildFrame(request));
  expect(bench.flowCount()).toEqual({ confirmed: 0, pending: 0 });
}

describe.skipIf(!allowed)('programs with features off', () => {
  const all = allowed ? measure({}) : {};

  it.each([
    ['services', { cfg_lb: false }],
    ['IPv6', { cfg_ipv6: false }],
    ['connection tracking', { cfg_conntrack: false }],
  ] as const)('shrink without %s', (_name, features) => {
    const less = measure(features);
    for (const program of PROGRAMS) {
      expect(less[program]?.instructions).toBeLessThan(all[program]?.instructions ?? 0);
      expect(less[program]?.verifiedInstructions).toBeLessThan(all[program]?.verifiedInstructions ?? 0);
    }
  });

  it('are next to nothing with everything off', () => {
    const none = measure({ cfg_lb: false, cfg_ipv6: false, cfg_conntrack: false });
    for (const program of PROGRAMS) expect(none[program]?.instructions).toBeLessThan(20);
  });

  it('stay well below the limits of the verifier with everything on', () => {
    // A million is the limit; 5.15 has the same, and newer compilers need some room.
    for (const program of PROGRAMS) expect(all[program]?.verifiedInstructions).toBeLessThan(500_000);
  });
});

describePath(
  'without services',
  (bench) => it.each([4, 6] as const)('IPv%d passes', (family) => expectIgnored(bench(), family)),
  {
    features: { cfg_lb: false },
  },
);

describePath(
  'without IPv6',
  (bench) => {
    it('IPv6 passes', () => expectIgnored(bench(), 6));

    it('IPv4 works', () => {
      addPlainService(bench(), 4, 'udp');
      const talk = conversation(4, 'udp');
      expectForwarded(bench().receive(talk.request, CLIENT_SIDE), talk.requestOut);
    });
  },
  { features: { cfg_ipv6: false } },
);

describePath(
  'without connection tracking',
  (bench) => it.each([4, 6] as const)('IPv%d passes', (family) => expectIgnored(bench(), family)),
  {
    features: { cfg_conntrack: false },
  },
);

/** Code that passes from one compiler may be refused from another: each leaves out other zero extensions. */
const COMPILERS = ['clang-14', 'clang-19'];

function compile(compiler: string, output: string): void {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const machine = execFileSync('uname', ['-m'], { encoding: 'utf8' }).trim();
  const flags = ['-g', '-O2', '-target', 'bpf', '-mcpu=v3', `-I/usr/include/${machine}-linux-gnu`];
  execFileSync(compiler, [...flags, '-c', `${root}bpf/progs/loxilb.bpf.c`, '-o', output], { stdio: 'pipe' });
}

function isInstalled(compiler: string): boolean {
  try {
    execFileSync(compiler, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe.skipIf(!allowed)('compilers', () => {
  it.each(COMPILERS.filter(isInstalled))('the kernel takes what %s makes', (compiler) => {
    const folder = mkdtempSync(join(tmpdir(), 'loxilb-bpf-'));
    try {
      const object = join(folder, 'loxilb.bpf.o');
      compile(compiler, object);
      const path = new PacketPath({ object });
      for (const program of PROGRAMS) expect(path.facts(program).instructions).toBeGreaterThan(100);
      path.close();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
