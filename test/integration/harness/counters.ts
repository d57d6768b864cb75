import type { Namespace } from './namespace.js';

/**
 * A counter of the namespace's kernel by protocol and name, e.g. `Tcp` and `EstabResets`, since the namespace began.
 * (nstat would subtract what it once wrote into a file that all namespaces share.)
 */
export async function kernelCounter(netns: Namespace, protocol: 'Tcp' | 'TcpExt', name: string): Promise<number> {
  const file = protocol === 'Tcp' ? '/proc/net/snmp' : '/proc/net/netstat';
  const [names = '', values = ''] = (await netns.must('grep', [`^${protocol}:`, file])).split('\n');
  const at = names.split(' ').indexOf(name);
  if (at < 0) throw new Error(`the kernel has no counter ${protocol}${name}`);
  return Number(values.split(' ')[at]);
}
