import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BULK_PORT, HTTP_PORT, PROXIED_PORT, UDP_PORT } from '../contenders/contender.js';
import { start, tryRun, until } from '../process.js';
import type { Scope } from '../scope.js';
import type { Topology } from '../topology.js';

/** Bytes of the page the HTTP servers give. */
const PAGE_BYTES = 1024;

/** HTTP on every server; iperf3 and the UDP sink on the first. */
export async function startServers(scope: Scope, topology: Topology, workDir: string, blaster: string): Promise<void> {
  await Promise.all(topology.servers.map((namespace) => startHttp(scope, namespace, workDir)));
  const first = topology.servers[0] as string;
  start(scope, ['iperf3', '-s', '-p', String(BULK_PORT)], join(workDir, 'iperf3.log'), { namespace: first });
  start(scope, [blaster, 'sink', String(UDP_PORT)], join(workDir, 'sink.log'), { namespace: first });
}

async function startHttp(scope: Scope, namespace: string, workDir: string): Promise<void> {
  const directory = join(workDir, namespace);
  await mkdir(directory);
  const file = join(directory, 'nginx.conf');
  await writeFile(file, httpConfig(directory));
  start(scope, ['nginx', '-p', directory, '-c', file], join(directory, 'output.log'), { namespace });
}

/** The page is in memory and nothing is logged: the servers should cost little beside the path to them. */
function httpConfig(directory: string): string {
  return `
daemon off;
worker_processes 1;
pid ${directory}/pid;
error_log ${directory}/error.log;
events { worker_connections 8192; }
http {
  access_log off;
  keepalive_requests 1000000000;
  server {
    listen ${HTTP_PORT} backlog=4096;
    listen ${PROXIED_PORT} backlog=4096 proxy_protocol;
    location / { return 200 "${'x'.repeat(PAGE_BYTES)}"; }
  }
}
`;
}

/** A URL of the HTTP service at an address. */
export function urlOf(address: string): string {
  return `http://${address.includes(':') ? `[${address}]` : address}/`;
}

/** The client gets the page from `address`. */
export function untilServed(topology: Topology, address: string): Promise<void> {
  return until(`HTTP through ${topology.name}`, async () => {
    const curl = ['curl', '-s', '-o', '/dev/null', '-w', '%{size_download}', '-m', '1', urlOf(address)];
    return (await tryRun(curl, { namespace: topology.client })).stdout === String(PAGE_BYTES);
  });
}
