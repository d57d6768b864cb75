import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Namespace } from './namespace.js';
import type { Network } from './network.js';
import { must, until } from './run.js';

/** Where a web server listens. `proxied`: connections begin with a PROXY protocol header. `tls`: 1.3 only. */
export interface WebPort {
  readonly port: number;
  readonly proxied?: boolean;
  readonly tls?: boolean;
}

export interface WebServer {
  /** What is served: GET and PUT of files below. */
  readonly root: string;
  /** One line per request so far: what the header says, the peer as it is, and the request. */
  log(): Promise<Request[]>;
  /** Requests in the log that are written to the end. */
  lines(): Promise<number>;
  forget(): Promise<void>;
}

export interface Request {
  /** Client and service as the PROXY protocol header has them, `[ADDRESS]:PORT`; `[]:` without one. */
  readonly client: string;
  readonly service: string;
  /** Address of the peer. */
  readonly peer: string;
  /** Number of the request on its connection. */
  readonly number: number;
  readonly method: string;
  readonly protocol: string;
}

/** nginx that serves and takes files, on both families; its name is in `/name`. */
export async function startWebServer(
  { folder }: Network,
  netns: Namespace,
  name: string,
  ports: readonly WebPort[],
): Promise<WebServer> {
  const home = join(folder, `web-${name}`);
  const root = join(home, 'root');
  await mkdir(root, { recursive: true });
  await writeFile(join(root, 'name'), `${name}\n`);
  await makeCertificate(home);
  await writeFile(join(home, 'nginx.conf'), configuration(home, ports));
  netns.spawn('nginx', 'nginx', ['-c', join(home, 'nginx.conf'), '-p', home, '-e', join(home, 'error.log')]);
  const listening = (text: string): boolean => ports.every(({ port }) => text.includes(`*:${port}`));
  await until(`nginx of ${name} listens`, async () =>
    listening((await netns.must('ss', ['-Hltn'])).replaceAll('0.0.0.0:', '*:')),
  );
  const file = join(home, 'access.log');
  return {
    root,
    log: async () =>
      (await readFile(file, 'utf8'))
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line)),
    lines: async () => (await readFile(file, 'utf8')).split('\n').length - 1,
    forget: () => truncate(file),
  };
}

async function makeCertificate(home: string): Promise<void> {
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const files = ['-keyout', join(home, 'key.pem'), '-out', join(home, 'certificate.pem')];
  await must('openssl', [...request, '-subj', '/CN=lab', ...files]);
  const pem = (await readFile(join(home, 'certificate.pem'), 'utf8')) + (await readFile(join(home, 'key.pem'), 'utf8'));
  await writeFile(join(home, 'both.pem'), pem);
}

function configuration(home: string, ports: readonly WebPort[]): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${home}/tmp;`,
  );
  const header = `"client":"[$proxy_protocol_addr]:$proxy_protocol_port","service":"[$proxy_protocol_server_addr]:$proxy_protocol_server_port"`;
  const rest = `"peer":"$remote_addr","number":$connection_requests,"method":"$request_method","protocol":"$ssl_protocol"`;
  const listen = ports.flatMap(({ port, proxied, tls }) =>
    ['', '[::]:'].map((address) => `listen ${address}${port}${tls ? ' ssl' : ''}${proxied ? ' proxy_protocol' : ''};`),
  );
  return `
    user root;
    daemon off;
    worker_processes 1;
    pid ${home}/nginx.pid;
    events { worker_connections 4096; }
    http {
      log_format seen '{${header},${rest}}';
      access_log ${home}/access.log seen;
      ${temporary.join('\n')}
      server {
        ${listen.join('\n')}
        ssl_certificate ${home}/certificate.pem;
        ssl_certificate_key ${home}/key.pem;
        ssl_protocols TLSv1.3;
        root ${home}/root;
        client_max_body_size 0;
        dav_methods PUT;
      }
    }`;
}
