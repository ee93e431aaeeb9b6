import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { answerCheck, answerHealth, type Check, type HealthAnswer } from './health.ts';
import type { Service } from './lifecycle.ts';
import type { Log } from './log.ts';
import { version } from './version.ts';

export interface AdminServerOptions {
  /** IP address to listen on; loopback unless the operator chose otherwise, for nobody is asked who they are. */
  readonly address: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** What must hold for /readyz, in the order shown. Read at each request, so it may grow. */
  readonly checks: readonly Check[];
  readonly metrics: { text(): Promise<string>; readonly contentType: string };
  readonly log: Log;
}

export interface AdminServer extends Service {
  /** Resolves once it listens; rejects with what `run` rejects with. */
  readonly listening: Promise<{ readonly port: number }>;
}

/** The admin address cannot be listened on. Stop what holds it, or choose another with --admin-address and --admin-port. */
export class AdminListenError extends Error {
  readonly code: 'AdminPortInUse' | 'AdminAddressUnusable';

  constructor(address: string, port: number, cause: NodeJS.ErrnoException) {
    const inUse = cause.code === 'EADDRINUSE';
    const at = `${address.includes(':') ? `[${address}]` : address}:${port}`;
    super(
      inUse
        ? `admin port ${at} is in use; stop what listens there or choose another with --admin-port`
        : `cannot listen on admin address ${at} (${cause.code ?? cause.message}); choose another with --admin-address and --admin-port`,
      { cause },
    );
    this.code = inUse ? 'AdminPortInUse' : 'AdminAddressUnusable';
  }
}

/** Most connections at once; more are closed as they come. A scraper, a kubelet and a few people need ten. */
const MAX_CONNECTIONS = 64;
/** Milliseconds for a client to send its request. */
const REQUEST_TIMEOUT = 10_000;

/** Liveness asks no one else: an answer at all proves that the event loop turns. */
const LIVENESS: readonly Check[] = [{ name: 'ping', check: () => undefined }];

/**
 * Plain HTTP for the operator: /livez (and its alias /healthz), /readyz, both with ?verbose, ?exclude= and paths for
 * single checks; /metrics; /version; under `node --expose-gc` also /debug/memory, which collects garbage first.
 */
export function createAdminServer(options: AdminServerOptions): AdminServer {
  const { promise, resolve, reject } = Promise.withResolvers<{ port: number }>();
  // `run` reports the same error to whoever does not wait for `listening`.
  promise.catch(() => undefined);
  return {
    listening: promise,
    async run(signal) {
      const server = createServer(
        { requestTimeout: REQUEST_TIMEOUT, headersTimeout: REQUEST_TIMEOUT },
        (request, response) => {
          void answer(options, request, response);
        },
      );
      server.maxConnections = MAX_CONNECTIONS;
      try {
        resolve({ port: await listen(server, options) });
        await aborted(signal);
      } catch (error) {
        reject(error);
        throw error;
      } finally {
        await close(server);
      }
    },
  };
}

function listen(server: Server, { address, port, log }: AdminServerOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(new AdminListenError(address, port, error)));
    server.listen({ host: address, port }, () => {
      const actual = (server.address() as AddressInfo).port;
      server.removeAllListeners('error');
      server.on('error', (err) => log.warn({ err }, 'admin server could not accept a connection'));
      log.info({ address, port: actual }, 'admin server listens');
      resolve(actual);
    });
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

async function answer(options: AdminServerOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  request.resume();
  try {
    const { status, type, body, headers } = await route(options, request);
    response.writeHead(status, {
      'content-type': type,
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      ...headers,
    });
    response.end(body);
  } catch (err) {
    options.log.error({ err, url: request.url }, 'admin request failed');
    response.writeHead(500, { 'content-type': TEXT });
    response.end('internal server error, see the log\n');
  }
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Record<string, string>;
}

const TEXT = 'text/plain; charset=utf-8';
const JSON_TYPE = 'application/json';

async function route({ checks, metrics }: AdminServerOptions, request: IncomingMessage): Promise<Answer> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { status: 405, type: TEXT, body: 'method not allowed\n', headers: { allow: 'GET, HEAD' } };
  }
  const url = URL.parse(request.url ?? '/', 'http://admin');
  const [, endpoint = '', name, ...rest] = url?.pathname.split('/') ?? [];
  if (url !== null && rest.length === 0) {
    if (endpoint === 'livez' || endpoint === 'healthz') return health({ endpoint, checks: LIVENESS, name, url });
    if (endpoint === 'readyz') return health({ endpoint, checks: [...LIVENESS, ...checks], name, url });
    if (url.pathname === '/metrics') return { status: 200, type: metrics.contentType, body: await metrics.text() };
    if (url.pathname === '/version') return { status: 200, type: JSON_TYPE, body: versionInfo() };
    if (url.pathname === '/debug/memory' && globalThis.gc !== undefined) {
      return { status: 200, type: JSON_TYPE, body: await memoryAfterCollection(globalThis.gc) };
    }
  }
  return { status: 404, type: TEXT, body: '404 page not found\n' };
}

function health(asked: { endpoint: string; checks: readonly Check[]; name: string | undefined; url: URL }): Answer {
  const { searchParams } = asked.url;
  const query = { verbose: searchParams.has('verbose'), exclude: searchParams.getAll('exclude') };
  const { status, text }: HealthAnswer =
    asked.name === undefined
      ? answerHealth(asked.endpoint, asked.checks, query)
      : answerCheck(asked.checks, asked.name);
  return { status, type: TEXT, body: text };
}

function versionInfo(): string {
  return `${JSON.stringify({ version, nodeVersion: process.version, platform: `${process.platform}/${process.arch}` }, null, 2)}\n`;
}

/** Two full collections, for what a finalizer of the first lets go; bytes. */
async function memoryAfterCollection(gc: () => unknown): Promise<string> {
  for (let round = 0; round < 2; round++) {
    gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
  return `${JSON.stringify({ rss, heapUsed, external, arrayBuffers })}\n`;
}
