import { LoxilbError } from '@loxilb/sdk';

export function badParameter(field: string, value: unknown, expected: string): LoxilbError {
  return new LoxilbError(`invalid parameters: ${field} is not ${expected}: ${String(value)}`, {
    code: 'OBSERVE_PARAMETER',
    status: 400,
    field,
    value,
    remedy: `give ${field} as ${expected}`,
  });
}

export function serviceUnknown(name: string): LoxilbError {
  return new LoxilbError(`no service is called ${name}`, {
    code: 'OBSERVE_SERVICE_UNKNOWN',
    status: 404,
    field: 'service',
    value: name,
    remedy: "give the rule's name, or its address and port as in `loxicmd get lb`: 20.20.20.1:80",
  });
}

export function tooManyWatchers(limit: number): LoxilbError {
  return new LoxilbError(`${limit} clients watch already`, {
    code: 'OBSERVE_WATCHERS',
    status: 503,
    remedy: 'end one of them, or raise maxWatchers of the observe plugin',
  });
}

export function traceWithoutKernel(): LoxilbError {
  return new LoxilbError('there is no packet path to trace: the data plane is in memory', {
    code: 'TRACE_NO_KERNEL',
    status: 501,
    remedy: "run the daemon with dataplane.backend 'kernel'",
  });
}

export function interfaceUnknown(name: string): LoxilbError {
  return new LoxilbError(`there is no interface ${name}`, {
    code: 'TRACE_INTERFACE_UNKNOWN',
    status: 404,
    field: 'interface',
    value: name,
    remedy: 'see `loxicmd get port` for the interfaces there are',
  });
}
