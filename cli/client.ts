import { readFileSync } from 'node:fs';
import http, { type IncomingMessage } from 'node:http';
import { isIPv6 } from 'node:net';

export const BASE_PATH = '/netlox/v1';
const TOKEN_FILE = '/tmp/loxilbtoken';

export interface ClientOptions {
  readonly protocol: string;
  readonly host: string;
  readonly port: number;
  /** Seconds for the whole exchange, 0 for no limit. */
  readonly timeout: number;
  readonly token: string;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
}

type Method = 'GET' | 'POST' | 'DELETE';

/** No answer came; the message is what the Go client prints, without the leading `Error: `. */
export class TransportError extends Error {
  override name = 'TransportError';
}

export class Client {
  readonly #options: ClientOptions;
  readonly #token: string;
  readonly #agent = new http.Agent({ keepAlive: true });
  #secureAgent: http.Agent | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#token = options.token || readToken();
  }

  async request(method: Method, path: string, body?: unknown): Promise<Answer> {
    const response = await this.open(method, path, body);
    return { status: response.statusCode ?? 0, text: await this.read(method, path, response) };
  }

  /** Answers once the headers are here; the caller reads the body. The timeout is for answers that have an end. */
  async open(
    method: Method,
    path: string,
    body?: unknown,
    length: 'short' | 'endless' = 'short',
  ): Promise<IncomingMessage> {
    const url = this.#url(path);
    const secure = this.#options.protocol === 'https';
    const send = secure ? (await import('node:https')).request : http.request;
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const headers: Record<string, string | number> = {
      'Content-Type': 'application/json',
      Authorization: this.#token,
    };
    if (payload) headers['Content-Length'] = payload.length;
    const agent = secure ? await this.#https() : this.#agent;
    return new Promise((resolve, reject) => {
      const signal = length === 'short' ? this.#deadline() : undefined;
      const fail = (error: unknown): void => reject(this.explain(method, path, error));
      try {
        send(url, { method, headers, agent, ...(signal && { signal }) }, resolve)
          .on('error', fail)
          .end(payload);
      } catch (error) {
        fail(error);
      }
    });
  }

  async read(method: Method, path: string, response: IncomingMessage): Promise<string> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of response) chunks.push(chunk as Buffer);
    } catch (error) {
      throw this.explain(method, path, error);
    }
    return Buffer.concat(chunks).toString();
  }

  close(): void {
    this.#agent.destroy();
    this.#secureAgent?.destroy();
  }

  #url(path: string): string {
    const { protocol, host, port } = this.#options;
    return `${protocol}://${isIPv6(host) ? `[${host}]` : host}:${port}${BASE_PATH}${path}`;
  }

  #deadline(): AbortSignal | undefined {
    return this.#options.timeout > 0 ? AbortSignal.timeout(this.#options.timeout * 1000) : undefined;
  }

  async #https(): Promise<http.Agent> {
    this.#secureAgent ??= new (await import('node:https')).Agent({ keepAlive: true });
    return this.#secureAgent;
  }

  /** What the user is told when an exchange breaks off. */
  explain(method: Method, path: string, error: unknown): TransportError {
    const verb = `${method[0]}${method.slice(1).toLowerCase()}`;
    return new TransportError(`${verb} "${this.#url(path)}": ${reason(error, this.#options)}`, { cause: error });
  }
}

function readToken(): string {
  try {
    return readFileSync(TOKEN_FILE, 'utf8').trim();
  } catch {
    return '';
  }
}

const CONNECT_ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  EHOSTUNREACH: 'no route to host',
  ENETUNREACH: 'network is unreachable',
  ETIMEDOUT: 'connection timed out',
};

function reason(error: unknown, { host, port }: ClientOptions): string {
  const { name, code, message } = error as NodeJS.ErrnoException;
  if (name === 'AbortError' || name === 'TimeoutError') return 'context deadline exceeded';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `dial tcp: lookup ${host}: no such host`;
  if (code === 'ECONNRESET') return 'EOF';
  const refused = code === undefined ? undefined : CONNECT_ERRORS[code];
  if (refused === undefined) return message;
  return `dial tcp ${isIPv6(host) ? `[${host}]` : host}:${port}: connect: ${refused}`;
}
