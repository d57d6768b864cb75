import { request } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Network } from './network.js';

export interface ApiAnswer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests pick members out of answers whose shape they assert
  readonly body: any;
}

const basePath = '/netlox/v1';
let opened = 0;

/** The daemon's REST API, reached from outside its namespace. */
export class Api {
  private constructor(private readonly socketPath: string) {}

  static async open({ lb, folder }: Network, port: number): Promise<Api> {
    opened += 1;
    const socketPath = join(folder, `api-${opened}.sock`);
    const program = fileURLToPath(new URL('../programs/gateway.mjs', import.meta.url));
    await lb.spawn('gateway', process.execPath, [program, socketPath, String(port)]).line(/listening/);
    return new Api(socketPath);
  }

  get(path: string): Promise<ApiAnswer> {
    return this.call('GET', path);
  }

  post(path: string, body: unknown): Promise<ApiAnswer> {
    return this.call('POST', path, body);
  }

  delete(path: string): Promise<ApiAnswer> {
    return this.call('DELETE', path);
  }

  call(method: string, path: string, body?: unknown): Promise<ApiAnswer> {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const headers =
        payload === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) };
      const call = request({ socketPath: this.socketPath, method, path: basePath + path, headers }, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        answer.on('error', reject);
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: parse(text) }));
      });
      call.on('error', reject);
      call.end(payload);
    });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
