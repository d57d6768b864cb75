import { defineResource, type ResourceDefinition } from '@loxilb/sdk';
import { command } from './command.js';
import { deleteForms } from './deletes.js';
import { drainAsked } from './ending.js';
import { type ListParts, listRules } from './list-rules.js';
import { mergeRule } from './merge.js';
import { type Rule, ruleKey } from './model.js';
import type { LbRules } from './rules.js';
import { type LbRequest, lbRequest } from './schema.js';
import type { RuleLimits } from './validation.js';

export interface LbResourceParts extends ListParts {
  readonly rules: LbRules;
  readonly limits: RuleLimits;
  readonly reconcile: (rules: readonly Rule[]) => void;
}

export function lbResource(parts: LbResourceParts): ResourceDefinition<Rule, LbRequest> {
  const { rules, limits, reconcile } = parts;
  return defineResource<Rule, LbRequest>({
    kind: 'Loadbalancer',
    name: 'loadbalancer',
    path: '/config/loadbalancer',
    envelope: 'lbAttr',
    summary: 'Load balancer rules',
    schema: lbRequest,
    key: ruleKey,
    merge: (request, stored) => mergeRule(request, stored, limits),
    apply: (desired, _previous, asked) => rules.apply(desired, drainAsked(asked)),
    remove: (previous, asked) => rules.remove(previous, drainAsked(asked)),
    reconcile,
    status: (desired) => listRules(desired, parts),
    deletes: deleteForms,
    command,
  });
}
