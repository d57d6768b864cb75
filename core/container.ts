import 'reflect-metadata';
import { LoxilbError, type Token } from '@loxilb/sdk';
import { type DependencyContainer, container as globalContainer, instanceCachingFactory } from 'tsyringe';

/**
 * Dependency injection, kept to this file: typed tokens, factories, and one child container per plugin. Plugins see
 * `provide` and `use` of their context and never the container behind them.
 */
export type Container = DependencyContainer;

export interface CoreToken<T> {
  readonly key: symbol;
  readonly type?: T;
}

export function coreToken<T>(name: string): CoreToken<T> {
  return { key: Symbol(`core.${name}`) };
}

export function createContainer(): Container {
  return globalContainer.createChildContainer();
}

/** Registers a service that is made when somebody first asks for it. */
export function register<T>(container: Container, { key }: CoreToken<T>, make: () => T): void {
  container.register<T>(key, { useFactory: instanceCachingFactory(make) });
}

export function resolve<T>(container: Container, { key }: CoreToken<T>): T {
  return container.resolve<T>(key);
}

interface Provided {
  readonly plugin: string;
  readonly implementation: unknown;
}

/** Services by token, with their owners, so that a missing one can be explained and a stopped plugin's are gone. */
export class Services {
  readonly #owners = new Map<string, string>();

  constructor(private readonly container: Container) {}

  provide<T>(plugin: string, { id }: Token<T>, implementation: T): void {
    const owner = this.#owners.get(id);
    if (owner) {
      throw new LoxilbError(`service ${id} of plugin ${plugin} is already provided by ${owner}`, {
        code: 'SERVICE_DUPLICATE',
        status: 500,
        value: id,
      });
    }
    this.#owners.set(id, plugin);
    this.container.register<Provided>(serviceKey(id), { useValue: { plugin, implementation } });
  }

  find<T>({ id }: Token<T>): T | undefined {
    if (!this.#owners.has(id)) return undefined;
    // The last registration counts: a restarted plugin provides anew.
    return this.container.resolveAll<Provided>(serviceKey(id)).at(-1)?.implementation as T;
  }

  ownerOf(id: string): string | undefined {
    return this.#owners.get(id);
  }

  release(plugin: string): void {
    for (const [id, owner] of this.#owners) if (owner === plugin) this.#owners.delete(id);
  }
}

function serviceKey(id: string): symbol {
  return Symbol.for(`loxilb.service.${id}`);
}
