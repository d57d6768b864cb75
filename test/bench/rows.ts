/** What the traffic part measures: one row of the report each. */
export interface Row {
  readonly id: RowId;
  readonly title: string;
  readonly unit: string;
  /** Decimals when printed. */
  readonly digits: number;
}

export type RowId =
  | 'bulk1'
  | 'bulk1Cpu'
  | 'bulk4'
  | 'bulk4Cpu'
  | 'connections'
  | 'connectionP50'
  | 'connectionP99'
  | 'connectionCpu'
  | 'requests'
  | 'requestP50'
  | 'requestP99'
  | 'requestCpu'
  | 'udp'
  | 'udpCpu';

export const ROWS: readonly Row[] = [
  { id: 'bulk1', title: 'TCP throughput, 1 stream', unit: 'Gb/s', digits: 2 },
  { id: 'bulk1Cpu', title: '  CPU per gigabyte', unit: 'ms', digits: 0 },
  { id: 'bulk4', title: 'TCP throughput, 4 streams', unit: 'Gb/s', digits: 2 },
  { id: 'bulk4Cpu', title: '  CPU per gigabyte', unit: 'ms', digits: 0 },
  { id: 'connections', title: 'new connections', unit: '/s', digits: 0 },
  { id: 'connectionP50', title: '  p50', unit: 'us', digits: 0 },
  { id: 'connectionP99', title: '  p99', unit: 'us', digits: 0 },
  { id: 'connectionCpu', title: '  CPU per connection', unit: 'us', digits: 1 },
  { id: 'requests', title: 'keep-alive requests', unit: '/s', digits: 0 },
  { id: 'requestP50', title: '  p50', unit: 'us', digits: 0 },
  { id: 'requestP99', title: '  p99', unit: 'us', digits: 0 },
  { id: 'requestCpu', title: '  CPU per request', unit: 'us', digits: 1 },
  { id: 'udp', title: 'UDP packets of 64 bytes', unit: '/s', digits: 0 },
  { id: 'udpCpu', title: '  CPU per packet', unit: 'us', digits: 2 },
];
