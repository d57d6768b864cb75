import type { DataPlane } from '@loxilb/sdk';
import type { DataPlaneBroker } from '../dataplane/index.js';

/** A data plane for tests that are about something else: it knows no map and has no interface. */
export function fakeBroker(): DataPlaneBroker {
  const refuse = () => {
    throw new Error('this test has no maps');
  };
  const dataplane: DataPlane = {
    backend: 'memory',
    program: refuse,
    walk: refuse,
    rawBatches: () => [],
    rawEntries: refuse,
    ring: refuse,
    openTrace: refuse,
    attached: () => [],
  };
  return {
    backend: 'memory',
    dataplane,
    claim: refuse,
    view: refuse,
    setFeature: () => undefined,
    load: () => undefined,
    attach: () => undefined,
    detach: () => undefined,
    retain: () => undefined,
    updateXdp: () => undefined,
    attached: () => [],
    verifyAttached: () => [],
    bumpGeneration: () => undefined,
    writeInterfaces: () => undefined,
    counters: () => ({}),
    programInfo: () => [],
    close: () => undefined,
  };
}
