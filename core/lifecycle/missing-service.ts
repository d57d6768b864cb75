import { LoxilbError } from '@loxilb/sdk';

const CODE = 'SERVICE_MISSING';

/** A plugin asked for a service nobody provides (yet). `value` is the token's id. */
export function missingService(plugin: string, id: string): LoxilbError {
  return new LoxilbError(`plugin ${plugin} uses service ${id}, which no plugin set up before it provides`, {
    code: CODE,
    status: 500,
    value: id,
    remedy: 'enable the plugin that provides it',
  });
}

/** The same fault, once it is known who would have provided the service. */
export function explainMissingService(
  plugin: string,
  error: unknown,
  ownerOf: (id: string) => string | undefined,
): unknown {
  const { code, value } = error as { code?: unknown; value?: unknown };
  if (code !== CODE || typeof value !== 'string') return error;
  const provider = ownerOf(value);
  if (!provider) return error;
  return new LoxilbError(`plugin ${plugin} uses service ${value} of plugin ${provider}, which was set up after it`, {
    code: CODE,
    status: 500,
    value,
    remedy: `add ${provider} to dependsOn of ${plugin}`,
  });
}
