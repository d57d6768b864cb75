import type { Asked } from '@loxilb/sdk';
import type { LbConfig } from './config.js';
import type { DrainNote } from './drain-table.js';
import { lbError } from './errors.js';
import { looksAfterAddress, protocolNumber, type Rule, serviceAddress } from './model.js';
import type { LbRequest } from './schema.js';

/** What becomes of the flows of an endpoint that fails or is taken out of service. */
export type DownAction = LbConfig['onEndpointDown'];

/** The longest drain, in seconds. */
export const MAX_DRAIN_SECONDS = 86_400;

/** Seconds of a drain. Throws `LB_DRAIN_RANGE`. */
export function checkDrainTime(seconds: number, field: string): number {
  if (seconds >= 0 && seconds <= MAX_DRAIN_SECONDS) return seconds;
  throw lbError('LB_DRAIN_RANGE', `drain time out of range: ${seconds} (0..${MAX_DRAIN_SECONDS} s)`, {
    field,
    value: seconds,
  });
}

export type EndingDefaults = Pick<LbConfig, 'onEndpointDown' | 'drainTimeout'>;

/** How the flows of an endpoint end that left its rule, or went with it. */
export interface Leaving {
  /** Seconds they may go on, 0: none. */
  readonly drainSeconds: number;
  /** Both ends of those that are cut are told by a reset. */
  readonly reset: boolean;
  /** What a later daemon has to know of them. */
  readonly note: Omit<DrainNote, 'until' | 'reset'>;
}

/** Seconds a request itself wants flows to go on, of what it takes away. */
export function drainAsked(asked: Asked<LbRequest> | undefined): number | undefined {
  const seconds = asked?.args?.query.drain;
  return seconds === undefined ? asked?.request?.serviceArguments.drainTimeout : Math.trunc(Number(seconds));
}

export function downAction(rule: Rule, defaults: EndingDefaults): DownAction {
  return rule.onEndpointDown ?? defaults.onEndpointDown;
}

/** `asked` is the seconds the request itself says, which count before what the rule says. */
export function leavingOf(rule: Rule, defaults: EndingDefaults, asked?: number): Leaving {
  const addr = serviceAddress(rule);
  return {
    drainSeconds: asked ?? rule.drainTimeout ?? defaults.drainTimeout,
    reset: downAction(rule, defaults) === 'reset',
    note: {
      addr,
      port: rule.port,
      portMax: rule.portMax ?? rule.port,
      proto: protocolNumber(rule.protocol, addr),
      mark: rule.block,
      ownsAddress: looksAfterAddress(rule) ? 1 : 0,
    },
  };
}

/** Of a service nobody knows any more. */
export const ENDS_NOW: Leaving = {
  drainSeconds: 0,
  reset: false,
  note: { addr: '::', port: 0, portMax: 0, proto: 0, mark: 0, ownsAddress: 0 },
};
