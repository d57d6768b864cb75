import { expect, it } from 'vitest';
import { lbError, lbErrorCodes } from './errors.js';

it('calls nothing but a refusal of the kernel a fault of the server', () => {
  const server = lbErrorCodes.filter((code) => lbError(code, 'what is wrong').status >= 500);
  expect(server).toEqual(['LB_VIP_ADDRESS']);
});
