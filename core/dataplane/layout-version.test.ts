import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { LAYOUT_VERSION } from './layout-version.js';

it('is the version of the C headers', () => {
  const header = readFileSync(new URL('../../bpf/maps/dataplane.h', import.meta.url), 'utf8');
  expect(header).toMatch(new RegExp(`^#define LAYOUT_VERSION ${LAYOUT_VERSION}$`, 'm'));
});
