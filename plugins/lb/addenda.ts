import { isDeepStrictEqual } from 'node:util';
import type { LbSctpVips, LbSourceKey } from './layout.gen.js';
import type { LbMaps } from './maps.js';
import { sctpVips } from './sctp-vips.js';
import { sourceKeys } from './sources.js';
import type { ServiceState } from './state.js';

/**
 * At start: allowed sources and SCTP addresses, which the data plane has by service id. What is missing is written before
 * the services that refer to it, what is stale goes after they no longer do.
 */
export class Addenda {
  private readonly sources = new Map<string, LbSourceKey>();
  private readonly vips = new Map<number, LbSctpVips>();

  constructor(
    private readonly maps: Pick<LbMaps, 'source' | 'sctpVips'>,
    services: Iterable<ServiceState>,
  ) {
    for (const { id, rule } of services) {
      for (const key of sourceKeys(id, rule).values()) this.sources.set(textOf(key), key);
      const vips = sctpVips(rule);
      if (vips) this.vips.set(id, vips);
    }
  }

  /** Entries written. */
  add(): number {
    const { source, sctpVips: vipMap } = this.maps;
    const there = new Set([...source.entries()].map(([key]) => textOf(key)));
    const missing = [...this.sources].filter(([text]) => !there.has(text)).map(([, key]) => key);
    if (missing.length > 0) source.setMany(missing.map((key) => [key, { allow: 1 }]));
    const written = new Map(vipMap.entries());
    const different = [...this.vips].filter(([id, vips]) => !isDeepStrictEqual(written.get(id), vips));
    if (different.length > 0) vipMap.setMany(different);
    return missing.length + different.length;
  }

  /** Entries removed. */
  prune(): number {
    const { source, sctpVips: vipMap } = this.maps;
    const shut = [...source.entries()].map(([key]) => key).filter((key) => !this.sources.has(textOf(key)));
    if (shut.length > 0) source.deleteMany(shut);
    const gone = [...vipMap.entries()].map(([id]) => id).filter((id) => !this.vips.has(id));
    if (gone.length > 0) vipMap.deleteMany(gone);
    return shut.length + gone.length;
  }
}

function textOf({ prefixlen, serviceId, addr }: LbSourceKey): string {
  return `${serviceId}|${addr}/${prefixlen}`;
}
