import type { Logger, MetricFactory, MetricSpec } from '../context.js';

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly fields: object;
  readonly text: string;
}

/** A log that remembers instead of printing. */
export function createRecordingLog(): Logger & { readonly lines: readonly LogLine[] } {
  const lines: LogLine[] = [];
  const at = (level: LogLine['level']) => (fields: object | string, text?: string) => {
    lines.push(typeof fields === 'string' ? { level, fields: {}, text: fields } : { level, fields, text: text ?? '' });
  };
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

export interface RecordedMetric extends MetricSpec {
  readonly kind: 'gauge' | 'counter';
  /** As Prometheus sees it. */
  readonly fullName: string;
}

export function recordingMetrics(plugin: string, into: RecordedMetric[]): MetricFactory {
  const record = (kind: RecordedMetric['kind']) => (spec: MetricSpec) => {
    const fullName = spec.exactName ? spec.name : `loxilb_${plugin.replaceAll('-', '_')}_${spec.name}`;
    into.push({ ...spec, collect: () => spec.collect(), kind, fullName });
  };
  return { gauge: record('gauge'), counter: record('counter') };
}
