import { defineResource, type ResourceDefinition } from '@loxilb/sdk';
import { command } from './command.js';
import { deleteForms } from './deletes.js';
import { listRules } from './list-rules.js';
import type { LbMaps } from './maps.js';
import { mergeRule } from './merge.js';
import { type Rule, ruleKey } from './model.js';
import type { LbRules } from './rules.js';
import { type LbRequest, lbRequest } from './schema.js';
import type { LbState } from './state.js';
import type { RuleLimits } from './validation.js';

export interface LbResourceParts {
  readonly rules: LbRules;
  readonly state: LbState;
  readonly maps: LbMaps;
  readonly limits: RuleLimits;
  readonly reconcile: (rules: readonly Rule[]) => void;
}

export function lbResource(parts: LbResourceParts): ResourceDefinition<Rule, LbRequest> {
  const { rules, state, maps, limits, reconcile } = parts;
  return defineResource<Rule, LbRequest>({
    kind: 'Loadbalancer',
    name: 'loadbalancer',
    path: '/config/loadbalancer',
    envelope: 'lbAttr',
    summary: 'Load balancer rules',
    schema: lbRequest,
    key: ruleKey,
    merge: (request, stored) => mergeRule(request, stored, limits),
    apply: (desired) => rules.apply(desired),
    remove: (previous) => rules.remove(previous),
    reconcile,
    status: (desired) => listRules(desired, state, maps),
    deletes: deleteForms,
    command,
  });
}
