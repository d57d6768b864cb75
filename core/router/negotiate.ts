import { notAcceptable, unsupportedMediaType } from './framework-error.js';

const JSON_TYPE = 'application/json';

/** Parameters such as a charset are tolerated. No header counts as Go counts it: as bytes of no known kind. */
export function checkContentType(header: string | undefined): void {
  const type = (header ?? 'application/octet-stream').split(';', 1)[0]?.trim().toLowerCase() ?? '';
  if (type !== JSON_TYPE) throw unsupportedMediaType(header ?? 'application/octet-stream');
}

/** @param contentType what the operation answers with, when that is not JSON */
export function checkAccept(header: string | undefined, contentType: string | undefined): void {
  if (header === undefined || header === '' || header === '*/*' || header === JSON_TYPE) return;
  const available = [JSON_TYPE, ...(contentType ? [contentType.split(';', 1)[0] as string] : [])];
  if (!available.some((type) => header.split(',').some((range) => allows(range, type)))) throw notAcceptable(available);
}

function allows(range: string, type: string): boolean {
  const [pattern = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
  if (parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter))) return false;
  return pattern === '*/*' || pattern === type || pattern === `${type.split('/', 1)[0]}/*`;
}
