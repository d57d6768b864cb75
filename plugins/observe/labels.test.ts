import { expect, it } from 'vitest';
import { Labels } from './labels.js';

type Sources = ConstructorParameters<typeof Labels>[0];

it('names interfaces, those that are gone by number, and has a dash for none', () => {
  const links = [{ ifindex: 2, name: 'eth0' }];
  const labels = new Labels({ network: { links: () => links } } as unknown as Sources);
  expect([2, 3, 0].map((ifindex) => labels.interface(ifindex))).toEqual(['eth0', 'interface 3', '-']);
});
