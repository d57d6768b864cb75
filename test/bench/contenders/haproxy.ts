import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, start } from '../process.js';
import type { Topology } from '../topology.js';
import { BULK_PORT, type Contender, HTTP_PORT, PROXIED_PORT, vipTargets } from './contender.js';

/** HAProxy in tcp mode, one thread per CPU, as its documentation sets it up. It has no UDP. */
export const haproxy = proxy('haproxy', 'HAProxy (tcp)', `${HTTP_PORT}`);

/** The servers are told the client. */
export const haproxyPpv2: Contender = {
  ...proxy('haproxy-ppv2', 'HAProxy PROXY v2', `${PROXIED_PORT} send-proxy-v2`),
  optional: true,
};

function proxy(name: string, title: string, server: string): Contender {
  return {
    name,
    title,
    async start(scope, topology, workDir) {
      const file = join(workDir, `${name}.cfg`);
      await writeFile(file, config(topology, server));
      await run(['ip', '-n', topology.lb, 'addr', 'add', `${topology.vip}/32`, 'dev', 'lo']);
      start(scope, ['haproxy', '-db', '-f', file], join(workDir, `${name}.log`), { namespace: topology.lb });
      const { http, bulk } = vipTargets(topology);
      return { http, bulk };
    },
  };
}

function config(topology: Topology, server: string): string {
  const servers = topology.serverAddresses.map((address, i) => `  server s${i + 1} ${address}:${server}`);
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
