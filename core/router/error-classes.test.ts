import { expect, it } from 'vitest';
import { messageOfStatus, statusOfText } from './error-classes.js';

it.each([
  ['lbrule-exists error', 409],
  ['lbrule not-exists error', 404],
  ['lbrule-exist error: cant modify rule security mode', 409],
  ['malformed-service dsr-port error', 400],
  ['endpoints-range error', 400],
  ['host-parse error', 400],
  ['hostarm-args error', 400],
  ['no-rule error', 404],
  ['rule-hwm error', 403],
  ['User not found', 404],
  ['Token not found', 404],
  ['file exists', 409],
  ['no such device', 404],
  ['numerical result out of range', 400],
  ['not-ready: desired state could not be stored', 503],
  ['running in bgp only mode', 403],
  ['proxy-proto-v2 not tcp service error', 400],
  ['ulcl-exists error', 500],
  ['no-ulcl error', 500],
  ['secIP modify error', 500],
  ['bfd interval too low', 500],
  ['network is unreachable', 500],
])('%s: %i', (text, status) => {
  expect(statusOfText(text)).toBe(status);
});

it.each([
  [404, 'Resource not found'],
  [409, 'Resource conflict: Resource already exists OR dependency not found'],
  [400, 'Malformed arguments for API call'],
  [403, 'Capacity insufficient'],
  [503, 'Maintenance mode'],
  [401, 'Invalid authentication credentials'],
  [500, 'the text itself'],
  [507, 'the text itself'],
])('%i: %s', (status, message) => {
  expect(messageOfStatus(status, 'the text itself')).toBe(message);
});
