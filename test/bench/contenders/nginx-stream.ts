import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, start } from '../process.js';
import type { Topology } from '../topology.js';
import { BULK_PORT, type Contender, HTTP_PORT, UDP_PORT, vipTargets } from './contender.js';

/** nginx as a layer 4 proxy, one worker per CPU. */
export const nginxStream: Contender = {
  name: 'nginx',
  title: 'nginx stream',
  async start(scope, topology, workDir) {
    const directory = join(workDir, 'nginx-stream');
    await mkdir(directory);
    const file = join(directory, 'nginx.conf');
    await writeFile(file, config(topology, directory));
    await run(['ip', '-n', topology.lb, 'addr', 'add', `${topology.vip}/32`, 'dev', 'lo']);
    start(scope, ['nginx', '-p', directory, '-c', file], join(directory, 'output.log'), { namespace: topology.lb });
    return vipTargets(topology);
  },
};

function config(topology: Topology, directory: string): string {
  const first = topology.serverAddresses[0] as string;
  const servers = topology.serverAddresses.map((address) => `    server ${address}:${HTTP_PORT};`);
  return `
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
worker_processes auto;
pid ${directory}/pid;
error_log ${directory}/error.log;
events { worker_connections 8192; }
stream {
  upstream http {
${servers.join('\n')}
  }
  server {
    listen ${topology.vip}:${HTTP_PORT} backlog=4096;
    proxy_pass http;
  }
  server {
    listen ${topology.vip}:${BULK_PORT};
    proxy_pass ${first}:${BULK_PORT};
  }
  server {
    listen ${topology.vip}:${UDP_PORT} udp reuseport;
    proxy_pass ${first}:${UDP_PORT};
    proxy_timeout 5s;
  }
}
`;
}
