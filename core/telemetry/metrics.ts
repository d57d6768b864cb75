import { type Logger, LoxilbError, type MetricFactory, type MetricSample, type MetricSpec } from '@loxilb/sdk';
import type { Registry } from 'prom-client';

type Kind = 'gauge' | 'counter';

interface Declared {
  readonly owner: string;
  readonly kind: Kind;
  readonly name: string;
  readonly spec: MetricSpec;
}

/** Text format 0.0.4. */
export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/**
 * The only module that knows prom-client. Nothing is counted here: a scrape asks every owner for its current values.
 * prom-client is loaded with the first scrape.
 */
export class Metrics {
  readonly #declared = new Map<string, Declared>();

  constructor(private readonly log: Logger) {}

  /** @param owner plugin name, which becomes part of the metric names, or `core` */
  factory(owner: string): MetricFactory {
    return {
      gauge: (spec) => this.#declare(owner, 'gauge', spec),
      counter: (spec) => this.#declare(owner, 'counter', spec),
    };
  }

  #declare(owner: string, kind: Kind, spec: MetricSpec): void {
    const name = spec.exactName ? spec.name : `loxilb_${owner.replaceAll('-', '_')}_${spec.name}`;
    const other = this.#declared.get(name);
    if (other || !/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name)) {
      throw new LoxilbError(
        `metric ${name} of ${owner} ${other ? `is already declared by ${other.owner}` : 'has a bad name'}`,
        {
          code: 'METRIC_NAME',
          status: 500,
          value: name,
        },
      );
    }
    this.#declared.set(name, { owner, kind, name, spec });
  }

  release(owner: string): void {
    for (const [name, metric] of this.#declared) if (metric.owner === owner) this.#declared.delete(name);
  }

  get names(): readonly string[] {
    return [...this.#declared.keys()];
  }

  async scrape(): Promise<string> {
    const prometheus = await import('prom-client');
    const registry = new prometheus.Registry();
    for (const metric of this.#declared.values()) {
      const samples = await this.#collect(metric);
      if (samples) addMetric(prometheus, registry, metric, samples);
    }
    return registry.metrics();
  }

  /** One plugin's fault must not cost the others their figures. */
  async #collect(metric: Declared): Promise<readonly MetricSample[] | undefined> {
    try {
      return await metric.spec.collect();
    } catch (err) {
      this.log.error({ err, metric: metric.name }, 'collecting a metric failed');
      return undefined;
    }
  }
}

function addMetric(
  prometheus: typeof import('prom-client'),
  registry: Registry,
  { kind, name, spec }: Declared,
  samples: readonly MetricSample[],
): void {
  const options = { name, help: spec.help, labelNames: [...(spec.labels ?? [])], registers: [registry] };
  if (kind === 'gauge') {
    const gauge = new prometheus.Gauge(options);
    for (const { labels, value } of samples) gauge.set({ ...labels }, value);
  } else {
    const counter = new prometheus.Counter(options);
    for (const { labels, value } of samples) counter.inc({ ...labels }, value);
  }
}
