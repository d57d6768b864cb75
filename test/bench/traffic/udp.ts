import { UDP_PORT } from '../contenders/contender.js';
import { run } from '../process.js';

export interface UdpResult {
  readonly sent: number;
  readonly sendSeconds: number;
  readonly received: number;
  readonly receiveSeconds: number;
}

/** Frames of 64 bytes for `ms` from one sender on `flows` source ports; counted where they arrive. */
export async function blastUdp(
  blaster: string,
  namespace: string,
  address: string,
  ms: number,
  flows: number,
): Promise<UdpResult> {
  const command = [blaster, 'send', address, String(UDP_PORT), String(ms), String(flows)];
  return JSON.parse(await run(command, { namespace })) as UdpResult;
}
