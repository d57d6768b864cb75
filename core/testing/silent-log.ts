import type { Logger } from '@loxilb/sdk';

export interface LoggedLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly fields: object;
  readonly text: string;
}

/** A log that remembers instead of printing. */
export function recordingLog(): Logger & { readonly lines: LoggedLine[] } {
  const lines: LoggedLine[] = [];
  const at = (level: LoggedLine['level']) => (fields: object | string, text?: string) => {
    lines.push(typeof fields === 'string' ? { level, fields: {}, text: fields } : { level, fields, text: text ?? '' });
  };
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}
