import type { Conntrack, DataPlane, Logger, Network } from '@loxilb/sdk';
import { AddressBook } from './addresses.js';
import { Affinities } from './affinities.js';
import type { LbConfig } from './config.js';
import { DrainTable } from './drain-table.js';
import type { EndingDefaults } from './ending.js';
import type { LbMaps } from './maps.js';
import { changesFamily, describeRule, isProgrammed, type Rule } from './model.js';
import { Programmer } from './programmer.js';
import { reconcile } from './reconcile.js';
import type { FreedIds } from './retired-ids.js';
import { Retirement } from './retirement.js';
import { LbRules } from './rules.js';
import { ServiceBook } from './service-book.js';
import { LbState } from './state.js';
import { Traffic } from './traffic.js';
import { VipAddresses } from './vip-addresses.js';

export interface LbWorld {
  readonly config: Pick<LbConfig, 'persistTimeoutSeconds' | 'vipAddresses'> & EndingDefaults;
  readonly maps: LbMaps;
  readonly network: Network;
  readonly conntrack: Pick<Conntrack, 'purgeServices' | 'cutEndpoints' | 'idleTimesChanged'>;
  readonly dataplane: Pick<DataPlane, 'backend' | 'rawBatches'>;
  readonly log: Logger;
}

export interface LbParts {
  readonly rules: LbRules;
  readonly state: LbState;
  readonly book: AddressBook;
  readonly retirement: Retirement;
  readonly drains: DrainTable;
  readonly traffic: Traffic;
  readonly services: ServiceBook;
  readonly vips: VipAddresses;
  reconcile(rules: readonly Rule[]): void;
}

/** Earlier releases took such rules. */
function hasStrangers(rule: Rule): boolean {
  return rule.proxyprotocolv2 === true && rule.endpoints.some(({ endpointIP }) => changesFamily(rule, endpointIP));
}

/** Puts the parts together. Touches neither maps nor network. */
export function createRules({ config, maps, network, conntrack, dataplane, log }: LbWorld): LbParts {
  const state = new LbState(maps);
  const book = new AddressBook(network);
  const vips = new VipAddresses(maps.vip, network, book, log, {
    enabled: config.vipAddresses === 'lo',
    setSysctl: dataplane.backend === 'kernel',
  });
  const programmer = new Programmer({ maps, state, book, vips, conntrack, ...config });
  const services = new ServiceBook(state);
  const whenFree = (ids: FreedIds) => {
    services.freed(ids.services);
    rules.freed(ids);
  };
  const drains = new DrainTable(maps.drain, log);
  const traffic = new Traffic(maps);
  const affinities = new Affinities(maps.affinity, dataplane);
  const retirement = new Retirement({ maps, conntrack, drains, traffic, affinities, log, onFree: whenFree });
  const rules: LbRules = new LbRules({
    ...{ maps, state, book, vips, retirement, drains, affinities, programmer, log },
    endings: config,
  });
  return {
    rules,
    state,
    book,
    retirement,
    drains,
    traffic,
    services,
    vips,
    reconcile(desired) {
      const started = performance.now();
      const result = reconcile(desired.filter(isProgrammed), {
        maps,
        state,
        programmer,
        retirement,
        drains,
        affinities,
        vips,
        dataplane,
        resumeLeaver: (endpoint, wasLeaving) => rules.resumeLeaver(endpoint, wasLeaving),
      });
      conntrack.idleTimesChanged();
      for (const rule of desired.filter(hasStrangers)) {
        log.warn({ rule: describeRule(rule) }, 'endpoints of another family get no flows with proxy protocol v2');
      }
      log.info({ ...result, milliseconds: Math.round(performance.now() - started) }, 'rules reconciled');
    },
  };
}
