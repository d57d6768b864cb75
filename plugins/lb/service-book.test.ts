import { expect, it } from 'vitest';
import { ServiceBook } from './service-book.js';
import type { ServiceState } from './state.js';

const rule = { name: 'web', externalIP: '20.20.20.1', privateIP: '10.0.0.9', port: 80, portMax: 90, protocol: 'tcp' };

it('names services by id, and tells when ids come free', () => {
  const state = { id: 7, rule: { ...rule, block: 3 } } as unknown as ServiceState;
  const book = new ServiceBook({ byId: new Map([[7, state]]) } as ConstructorParameters<typeof ServiceBook>[0]);
  const expected = { id: 7, name: 'web', address: '10.0.0.9', port: 80, lastPort: 90, protocol: 'tcp', mark: 3 };
  expect(book.find(7)).toEqual(expected);
  expect(book.find(8)).toBeUndefined();
  expect(book.list()).toEqual([expected]);
  const freed: (readonly number[])[] = [];
  const stop = book.onFreed((ids) => void freed.push(ids));
  book.freed([7]);
  stop();
  book.freed([8]);
  expect(freed).toEqual([[7]]);
});
