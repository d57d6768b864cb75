import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host, Network } from './network.js';
import { until } from './run.js';

/** nginx in a server's namespace that answers every request with the server's name. */
export async function startNginx(network: Network, host: Host, port: number): Promise<void> {
  const folder = join(network.folder, `nginx-${host.port}`);
  await mkdir(join(folder, 'tmp'), { recursive: true });
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/tmp;`,
  );
  const config = `
    user root;
    daemon off;
    worker_processes 1;
    pid ${folder}/nginx.pid;
    error_log ${folder}/error.log;
    events { worker_connections 4096; }
    http {
      access_log off;
      ${temporary.join('\n')}
      server {
        listen ${port};
        listen [::]:${port};
        default_type text/plain;
        return 200 "${host.port}\\n";
      }
    }`;
  await writeFile(join(folder, 'nginx.conf'), config);
  host.netns.spawn('nginx', 'nginx', ['-c', join(folder, 'nginx.conf'), '-p', folder, '-e', join(folder, 'error.log')]);
  await until(`nginx of ${host.port} answers`, async () => {
    const { code } = await host.netns.run('curl', ['-sf', `http://127.0.0.1:${port}/`]);
    return code === 0;
  });
}
