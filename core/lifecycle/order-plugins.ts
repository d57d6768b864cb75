import { SDK_VERSION } from '@loxilb/sdk';
import { hint } from '../config/suggestion.js';
import { type Failure, LifecycleError } from './failures.js';
import type { LoadedPlugin } from './load-plugins.js';
import { satisfies } from './version-range.js';

const NAME = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/;

/**
 * Checks names, versions and dependencies, and puts plugins after those they depend on, otherwise in the order of the
 * config.
 *
 * @throws LifecycleError with every fault found
 */
export function orderPlugins(loaded: readonly LoadedPlugin[]): LoadedPlugin[] {
  const byName = new Map(loaded.map((entry) => [entry.plugin.name, entry]));
  const failures = loaded.flatMap((entry) => faultsOf(entry, byName).map((fault) => failure(entry, fault)));
  if (failures.length > 0) throw new LifecycleError(failures);
  return sortByDependency(loaded, byName);
}

function faultsOf(entry: LoadedPlugin, byName: ReadonlyMap<string, LoadedPlugin>): string[] {
  const { name, sdk, dependsOn = [] } = entry.plugin;
  const faults: string[] = [];
  if (!NAME.test(name)) faults.push(`name ${name} is not kebab-case`);
  if (!satisfies(SDK_VERSION, sdk)) faults.push(`was written for sdk ${sdk}, this is ${SDK_VERSION}`);
  if (byName.get(name) !== entry) faults.push(`${entry.source} and ${byName.get(name)?.source} are both named ${name}`);
  for (const needed of dependsOn) {
    if (byName.has(needed)) continue;
    faults.push(`needs plugin ${needed}, which is not enabled${hint(needed, [...byName.keys()])}`);
  }
  return faults;
}

function sortByDependency(loaded: readonly LoadedPlugin[], byName: ReadonlyMap<string, LoadedPlugin>): LoadedPlugin[] {
  const sorted: LoadedPlugin[] = [];
  const visit = (entry: LoadedPlugin, trail: readonly string[]): void => {
    const { name, dependsOn = [] } = entry.plugin;
    if (sorted.includes(entry)) return;
    if (trail.includes(name)) {
      const cycle = [...trail.slice(trail.indexOf(name)), name].join(' -> ');
      throw new LifecycleError([failure(entry, `dependencies form a cycle: ${cycle}`)]);
    }
    for (const needed of dependsOn) visit(byName.get(needed) as LoadedPlugin, [...trail, name]);
    sorted.push(entry);
  };
  for (const entry of loaded) visit(entry, []);
  return sorted;
}

function failure(entry: LoadedPlugin, message: string): Failure {
  return { plugin: entry.plugin.name, phase: 'check', error: new Error(message) };
}
