import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { run } from '../run.js';

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: unknown;
}

export interface Reply {
  readonly status?: number;
  /** A string is sent as it is, anything else as JSON. */
  readonly body: unknown;
  readonly delayMs?: number;
  /** Content type; JSON unless given. */
  readonly type?: string;
}

export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

const SUCCESS: Reply = { body: { result: 'Success' } };

/** An HTTP server in the daemon's place. Unknown GETs are answered as the daemon does; writes are a success. */
export class FakeDaemon {
  readonly requests: SeenRequest[] = [];
  readonly #replies = new Map<string, Reply>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const { method = '', url = '', headers } = request;
        const path = url.replace('/netlox/v1', '');
        this.requests.push({ method, path, authorization: headers.authorization, body: text && JSON.parse(text) });
        const { status = 200, body, delayMs = 0, type = 'application/json' } = this.#reply(method, url, path);
        setTimeout(() => {
          response.writeHead(status, { 'Content-Type': type });
          response.end(typeof body === 'string' ? body : `${JSON.stringify(body)}\n`);
        }, delayMs);
      });
    });
  }

  static async start(): Promise<FakeDaemon> {
    const daemon = new FakeDaemon();
    await new Promise<void>((resolve) => daemon.#server.listen(0, '127.0.0.1', resolve));
    return daemon;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** `on('GET /config/loadbalancer/all', {...})` */
  on(request: string, reply: Reply): this {
    this.#replies.set(request, reply);
    return this;
  }

  reset(): void {
    this.requests.length = 0;
    this.#replies.clear();
  }

  /** Runs `loxicmd <line>` against this daemon. Words are split at spaces. */
  loxicmd(line: string): Promise<Outcome> {
    return loxicmd(`${line} -p ${this.port}`);
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #reply(method: string, url: string, path: string): Reply {
    const known = this.#replies.get(`${method} ${path}`) ?? this.#replies.get(`${method} ${path.split('?')[0]}`);
    if (known) return known;
    if (method !== 'GET') return SUCCESS;
    return { status: 404, body: { code: 404, message: `path ${url} was not found` } };
  }
}

export async function loxicmd(line: string): Promise<Outcome> {
  const stdout = collector();
  const stderr = collector();
  const status = await run(line.split(' '), { stdout: stdout.stream, stderr: stderr.stream });
  return { status, stdout: stdout.text(), stderr: stderr.text() };
}

function collector(): { stream: PassThrough; text(): string } {
  const stream = new PassThrough();
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return { stream, text: () => Buffer.concat(chunks).toString() };
}
