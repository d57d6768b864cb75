import { BULK_PORT } from '../contenders/contender.js';
import { tryRun } from '../process.js';

interface IperfEnd {
  readonly error?: string;
  readonly end?: { readonly sum_received?: { readonly bytes: number; readonly seconds: number } };
}

/** Bytes the server got and the seconds it took, over `streams` TCP streams. */
export async function sendBulk(
  namespace: string,
  address: string,
  streams: number,
  megabytes: number,
): Promise<{ bytes: number; seconds: number }> {
  const command = [
    'iperf3',
    '-c',
    address,
    '-p',
    String(BULK_PORT),
    '-P',
    String(streams),
    '-n',
    `${megabytes}M`,
    '-J',
  ];
  const { stdout } = await tryRun(command, { namespace });
  const result = JSON.parse(stdout) as IperfEnd;
  const received = result.end?.sum_received;
  if (result.error || !received) throw new Error(`iperf3: ${result.error ?? 'no result'}`);
  return { bytes: received.bytes, seconds: received.seconds };
}
