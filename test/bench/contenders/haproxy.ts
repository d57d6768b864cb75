import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, start } from '../process.js';
import type { Topology } from '../topology.js';
import { BULK_PORT, type Contender, HTTP_PORT, vipTargets } from './contender.js';

/** HAProxy in tcp mode, one thread per CPU, as its documentation sets it up. It has no UDP. */
export const haproxy: Contender = {
  name: 'haproxy',
  title: 'HAProxy (tcp)',
  async start(scope, topology, workDir) {
    const file = join(workDir, 'haproxy.cfg');
    await writeFile(file, config(topology));
    await run(['ip', '-n', topology.lb, 'addr', 'add', `${topology.vip}/32`, 'dev', 'lo']);
    start(scope, ['haproxy', '-db', '-f', file], join(workDir, 'haproxy.log'), { namespace: topology.lb });
    const { http, bulk } = vipTargets(topology);
    return { http, bulk };
  },
};

function config(topology: Topology): string {
  const servers = topology.serverAddresses.map((address, i) => `  server s${i + 1} ${address}:${HTTP_PORT}`);
  return `
global
  maxconn 8000
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen http
  bind ${topology.vip}:${HTTP_PORT} backlog 4096
  balance roundrobin
${servers.join('\n')}
listen bulk
  bind ${topology.vip}:${BULK_PORT}
  server s1 ${topology.serverAddresses[0]}:${BULK_PORT}
`;
}
