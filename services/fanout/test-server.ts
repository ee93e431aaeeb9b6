import { once } from 'node:events';
import { Agent, type RequestOptions, request as httpsRequest } from 'node:https';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { systemClock } from '@dogwatch/process/clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import type { Exchange } from './exchange.ts';
import { createHttpServer, type HttpServer, type HttpServerOptions } from './http-server.ts';
import { SERVER_AUTH } from './make-certificate.ts';
import { testIdentity, type TestIdentity } from './test-certificates.ts';

/** A running server on a free port of the loopback, and clients that trust it. */
export interface TestServer {
  readonly server: HttpServer;
  readonly port: number;
  readonly log: string[];
  http2(identity?: TestIdentity, options?: ConnectionOptions): ClientHttp2Session;
  tls(options?: ConnectionOptions): Promise<TLSSocket>;
  request(version: HttpVersion, options: ClientRequest): Promise<Answer>;
  /** Aborts the signal; resolves when the server is done. Clients are destroyed first unless kept. */
  stop(options?: { keepClients: boolean }): Promise<void>;
}

export type HttpVersion = '1.1' | '2.0';

export interface ClientRequest {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Record<string, string | string[]>;
  readonly body?: string | Buffer;
  readonly identity?: TestIdentity;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: IncomingHttpHeaders;
}

export async function startTestServer(options: Partial<HttpServerOptions> = {}): Promise<TestServer> {
  const identity = testIdentity({ extendedKeyUsages: [SERVER_AUTH], names: ['localhost', '127.0.0.1'] });
  const log: string[] = [];
  const server = createHttpServer({
    tls: { cert: Buffer.from(identity.pem.cert), key: Buffer.from(identity.pem.key), requestClientCertificate: false },
    address: '127.0.0.1',
    port: 0,
    onRequest: (exchange: Exchange) => exchange.respond(200, {}, 'ok'),
    onUpgrade: ({ socket }) => void socket.destroy(),
    clock: systemClock,
    log: createLogger({ level: 'debug', pretty: false, destination: { write: (line) => void log.push(line) } }),
    ...options,
    ...(options.tls === undefined
      ? {}
      : { tls: { ...options.tls, cert: Buffer.from(identity.pem.cert), key: Buffer.from(identity.pem.key) } }),
  });
  const stopping = new AbortController();
  const running = server.run(stopping.signal);
  const { port } = await Promise.race([server.listening, running.then(() => expectListening())]);
  const clients: (ClientHttp2Session | TLSSocket)[] = [];
  const trusted = { ca: identity.pem.cert, host: '127.0.0.1', port };

  const http2 = (client?: TestIdentity, extra?: ConnectionOptions): ClientHttp2Session => {
    const session = connectHttp2(`https://127.0.0.1:${port}`, { ...trusted, ...client?.pem, ...extra });
    session.on('error', () => {});
    clients.push(session);
    return session;
  };
  return {
    server,
    port,
    log,
    http2,
    async tls(extra) {
      const socket = connectTls({ ...trusted, ...extra });
      socket.on('error', () => {});
      clients.push(socket);
      await once(socket, 'secureConnect');
      return socket;
    },
    async request(version, request) {
      if (version === '1.1') return requestHttp1({ ...trusted, ...request.identity?.pem }, request);
      const session = http2(request.identity);
      try {
        return await answerOf(openStream(session, request));
      } finally {
        session.close();
      }
    },
    async stop({ keepClients } = { keepClients: false }) {
      if (!keepClients) for (const client of clients) client.destroy();
      stopping.abort();
      await running;
      for (const client of clients) client.destroy();
    },
  };
}

/** Opens a stream and sends the whole request. */
export function openStream(
  session: ClientHttp2Session,
  { method = 'GET', path = '/', headers = {}, body }: ClientRequest,
): ClientHttp2Stream {
  const head: OutgoingHttpHeaders = { ':method': method, ':path': path, ...headers };
  const stream = session.request(head, { endStream: body === undefined });
  stream.on('error', () => {});
  if (body !== undefined) stream.end(body);
  return stream;
}

/** The whole answer of a stream. */
export async function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  let trailers: IncomingHttpHeaders = {};
  stream.on('trailers', (received) => (trailers = received));
  const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders & { ':status': number }];
  const parts: Buffer[] = [];
  for await (const part of stream as AsyncIterable<Buffer>) parts.push(part);
  if (!stream.closed) await once(stream, 'close');
  if (stream.rstCode !== 0) throw new Error(`stream reset with code ${stream.rstCode}`);
  return { status: headers[':status'], headers, body: Buffer.concat(parts).toString(), trailers };
}

async function requestHttp1(
  options: ConnectionOptions & RequestOptions,
  { method = 'GET', path = '/', headers = {}, body }: ClientRequest,
): Promise<Answer> {
  const request = httpsRequest({
    ...options,
    agent: new Agent({ ALPNProtocols: ['http/1.1'] }),
    method,
    path,
    headers,
  });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const parts: Buffer[] = [];
  for await (const part of response as AsyncIterable<Buffer>) parts.push(part);
  return {
    status: response.statusCode!,
    headers: response.headers,
    body: Buffer.concat(parts).toString(),
    trailers: response.trailers,
  };
}

function expectListening(): never {
  throw new Error('the server ended before it listened');
}
