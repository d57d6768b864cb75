import { LoxilbError, type OperationSpec, type ResourceDefinition } from '@loxilb/sdk';

/** A resource without its types, as the core handles all of them. */
export type AnyResource = ResourceDefinition<unknown, unknown>;

export interface CatalogResource {
  readonly plugin: string;
  readonly definition: AnyResource;
}

export interface CatalogOperation {
  readonly plugin: string;
  readonly spec: OperationSpec;
}

/** What the plugins declared. The router, the store and the CLI's descriptors are built from it. */
export class Catalog {
  readonly #resources = new Map<string, CatalogResource>();
  readonly #operations: CatalogOperation[] = [];
  /** Owner by `METHOD /path`. */
  readonly #paths = new Map<string, string>();

  /** In order of declaration. */
  get resources(): readonly CatalogResource[] {
    return [...this.#resources.values()];
  }

  get operations(): readonly CatalogOperation[] {
    return this.#operations;
  }

  addResource(plugin: string, definition: AnyResource): void {
    const other = this.#resources.get(definition.name);
    if (other) throw duplicate(`resource ${definition.name}`, plugin, other.plugin);
    this.#claim(plugin, 'POST', definition.path);
    this.#claim(plugin, 'GET', `${definition.path}/all`);
    for (const form of definition.deletes) this.#claim(plugin, 'DELETE', `${definition.path}${form.path}`);
    this.#resources.set(definition.name, { plugin, definition });
  }

  addOperation(plugin: string, spec: OperationSpec): void {
    this.#claim(plugin, spec.method, spec.path);
    this.#operations.push({ plugin, spec });
  }

  /** Forgets what a plugin declared. */
  release(plugin: string): void {
    for (const [name, entry] of this.#resources) if (entry.plugin === plugin) this.#resources.delete(name);
    for (const [path, owner] of this.#paths) if (owner === plugin) this.#paths.delete(path);
    const kept = this.#operations.filter((entry) => entry.plugin !== plugin);
    this.#operations.splice(0, this.#operations.length, ...kept);
  }

  #claim(plugin: string, method: string, path: string): void {
    // Two parameters at one place are one path, whatever they are called.
    const key = `${method} ${path.replace(/:[^/]+/g, ':')}`;
    const owner = this.#paths.get(key);
    if (owner) throw duplicate(`${method} ${path}`, plugin, owner);
    this.#paths.set(key, plugin);
  }
}

function duplicate(what: string, plugin: string, owner: string): LoxilbError {
  return new LoxilbError(`${what} of plugin ${plugin} is already declared by plugin ${owner}`, {
    code: 'PLUGIN_DUPLICATE',
    status: 500,
    value: what,
    remedy: 'enable only one of them',
  });
}
