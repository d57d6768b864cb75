import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, startLab } from '../integration/harness/index.js';
import { checkLinks, examplesOf, runExample } from './examples.js';

const PAGE = 'README.md';

/** The page's commands do what the page says, in its order, on one daemon. */
describe(PAGE, () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab();
  });
  afterAll(() => lab?.dispose());

  it('has examples', () => {
    expect(examplesOf(PAGE).length).toBeGreaterThanOrEqual(4);
  });

  it.each(examplesOf(PAGE))('line $line works ($where)', async (example) => {
    await runExample(example.where === 'lb' ? lab.network.lb : lab.network.client.netns, example);
  });

  it('names only files that exist', () => {
    checkLinks(PAGE);
  });
});
