import { generateKeyPairSync, randomUUID } from 'node:crypto';
import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { kubernetesName, makeCertificate, SERVER_AUTH } from '@dogwatch/fanout/make-certificate.ts';
import { isPathAllowed, type SimulatedUser } from './simulated-access.ts';
import { discover } from './simulated-discovery.ts';
import { answer, header, readBody, sendChunks } from './simulated-http.ts';
import { getObject, list, methodNotAllowed, type ReadContext, startWatch } from './simulated-reads.ts';
import {
  isTrue,
  type ListOptions,
  negotiate,
  parseListOptions,
  parseResourcePath,
  type ResourcePath,
} from './simulated-request.ts';
import { SIMULATED_RESOURCES } from './simulated-resources.ts';
import { answerReview, reviewResource } from './simulated-reviews.ts';
import { authenticate, authorize, forbiddenPath, nameIn, verbOf } from './simulated-rights.ts';
import { errorFrame, StatusError } from './simulated-status.ts';
import { type Collection, SimulatedStore } from './simulated-store.ts';
import { SimulatedStream } from './simulated-stream.ts';
import { viewed } from './simulated-view.ts';
import type { SimulatedWatch } from './simulated-watch.ts';
import { write } from './simulated-writes.ts';

export interface SimulatedUpstreamOptions {
  /** Default 0: any free port of 127.0.0.1. */
  readonly port?: number;
  /** Events each resource keeps. Default 50,000. */
  readonly window?: number;
  /** Streams per HTTP/2 connection, as kube-apiserver's flag; default 100 (protocol H6). */
  readonly maxStreams?: number;
}

const DAY_MS = 86_400_000;

type Handled = {
  readonly request: Http2ServerRequest;
  readonly response: Http2ServerResponse;
  readonly url: URL;
  readonly user: SimulatedUser;
};

/**
 * A look-alike of kube-apiserver for rates that the real one and etcd cannot make on a small machine: LIST, WATCH and
 * GET in JSON over HTTP/1.1 and HTTP/2, one counter of versions, reviews, discovery and plain writes. It offers no
 * protobuf and no Table; a client that insists gets 406.
 */
export class SimulatedUpstream {
  readonly store: SimulatedStore;
  /** PEM of its self-signed certificate. */
  readonly certificate: string;
  readonly #server: Http2SecureServer;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #sockets = new Set<Socket>();
  readonly #streams = new Map<SimulatedStream, Collection>();
  readonly #requests = new Map<string, number>();
  readonly #reads: ReadContext;

  private constructor({ window = 50_000, maxStreams = 100 }: SimulatedUpstreamOptions) {
    this.store = new SimulatedStore(SIMULATED_RESOURCES, window);
    this.#reads = { store: this.store, waitForVersion: (version, ms) => this.#waitForVersion(version, ms) };
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const certificate = makeCertificate({
      subject: kubernetesName('simulated-upstream'),
      key: privateKey,
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: new Date(Date.now() + 30 * DAY_MS),
      extendedKeyUsages: [SERVER_AUTH],
      names: ['127.0.0.1', 'localhost'],
    });
    this.certificate = certificate.toString();
    this.#server = createSecureServer(
      {
        allowHTTP1: true,
        cert: this.certificate,
        key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
        settings: { maxConcurrentStreams: maxStreams, initialWindowSize: 256 * 1024 },
      },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.on('session', (session) => {
      this.#sessions.add(session);
      session.on('close', () => this.#sessions.delete(session));
      session.on('error', () => session.destroy());
    });
    this.#server.on('secureConnection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => socket.destroy());
    });
  }

  /** Resolves once it listens. */
  static async start(options: SimulatedUpstreamOptions = {}): Promise<SimulatedUpstream> {
    const upstream = new SimulatedUpstream(options);
    await new Promise<void>((resolve, reject) => {
      upstream.#server.once('error', reject);
      upstream.#server.listen(options.port ?? 0, '127.0.0.1', resolve);
    });
    return upstream;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Watches open now, also by `group/resource` through /metrics. */
  get watches(): number {
    return this.#streams.size;
  }

  /** Cuts every connection, as a crash does; it goes on serving. */
  dropConnections(): void {
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    for (const stream of this.#streams.keys()) stream.close();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.dropConnections();
    await closed;
  }

  async #serve(request: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
    response.on('error', () => response.destroy());
    response.setHeader('audit-id', header(request, 'audit-id') ?? randomUUID());
    response.setHeader('cache-control', 'no-cache, private');
    try {
      const url = new URL(request.url, 'https://upstream');
      await this.#route({ request, response, url, user: authenticate(request) });
    } catch (error) {
      const status =
        error instanceof StatusError ? error : new StatusError(500, { message: `internal error: ${String(error)}` });
      if (response.headersSent) response.destroy();
      else answer(response, status.code, `${JSON.stringify(status.status)}\n`, status.headers);
    }
  }

  async #route(handled: Handled): Promise<void> {
    const { request, response, url, user } = handled;
    const target = parseResourcePath(url.pathname);
    if (target !== undefined) return this.#resource(handled, target);
    const review = reviewResource(url.pathname);
    if (review !== undefined) {
      authorize(user, { verb: 'create', ...review, subresource: '', namespace: '', name: '', fieldSelector: '' });
      if (request.method !== 'POST') throw methodNotAllowed();
      const body = answerReview(url.pathname, await readBody(request), user);
      return answer(response, 201, `${JSON.stringify(body)}\n`);
    }
    if (!isPathAllowed(user, url.pathname)) throw forbiddenPath(user, url.pathname);
    if (/^\/(readyz|livez|healthz)(\/|$)/.test(url.pathname))
      return answer(response, 200, 'ok', { 'content-type': 'text/plain' });
    if (url.pathname === '/metrics')
      return answer(response, 200, this.#metrics(), { 'content-type': 'text/plain; version=0.0.4' });
    const discovery = discover(url.pathname);
    if (discovery === undefined) {
      if (/^\/apis?\//.test(url.pathname)) {
        throw new StatusError(404, {
          reason: 'NotFound',
          message: 'the server could not find the requested resource',
          details: {},
        });
      }
      return answer(response, 404, '404 page not found\n', { 'content-type': 'text/plain; charset=utf-8' });
    }
    negotiate(header(request, 'accept'), false);
    return answer(response, 200, `${JSON.stringify(discovery)}\n`);
  }

  async #resource(handled: Handled, target: ResourcePath): Promise<void> {
    const { request, response, url, user } = handled;
    const { group, resource } = target.resource;
    const collection = this.store.collection(group, resource);
    const method = request.method ?? 'GET';
    const query = url.searchParams;
    const watching = method === 'GET' && (target.watchPrefix || isTrue(query, 'watch'));
    const verb = watching ? 'watch' : verbOf(method, target.name);
    const name = target.name === '' && verb !== 'create' ? nameIn(query.get('fieldSelector') ?? '') : target.name;
    const { namespace, subresource } = target;
    authorize(user, {
      verb,
      group,
      resource,
      subresource,
      namespace,
      name,
      fieldSelector: query.get('fieldSelector') ?? '',
    });
    this.#count(target, verb);
    if (method !== 'GET') {
      const body = await readBody(request);
      const done = write(this.store, collection, target, {
        method,
        body,
        now: `${new Date().toISOString().slice(0, 19)}Z`,
      });
      return answer(response, done.status, Buffer.concat([done.body, NEWLINE]));
    }
    const isList = target.name === '';
    const view = negotiate(header(request, 'accept'), isList && !watching);
    if (!isList && !watching) {
      const bytes = viewed(getObject(collection, target).bytes, view);
      return answer(response, 200, Buffer.concat([bytes, NEWLINE]));
    }
    const options = parseListOptions(target, query);
    if (watching)
      return this.#watch(handled, collection, { options, start: startWatch(this.#reads, collection, options, view) });
    return sendChunks(response, await list(this.#reads, collection, options, view));
  }

  async #watch(
    { request, response }: Handled,
    collection: Collection,
    { options, start }: { options: ListOptions; start: Promise<SimulatedWatch> },
  ): Promise<void> {
    response.writeHead(200, { 'content-type': 'application/json' });
    (response as { flushHeaders?: () => void }).flushHeaders?.();
    let watch: SimulatedWatch;
    try {
      watch = await start;
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      response.end(errorFrame(error));
      return;
    }
    if (request.destroyed || response.destroyed) return;
    const ended = () => {
      stop();
      stream.close();
      this.#streams.delete(stream);
    };
    const stop = collection.onEvent(() => stream.wake());
    const { bookmarks, timeoutSeconds } = options;
    const sink = {
      write: (bytes: Buffer) => response.write(bytes),
      end: () => void response.end(),
      once: response.once.bind(response),
    };
    const stream: SimulatedStream = new SimulatedStream({
      watch,
      sink,
      bookmarks,
      timeoutSeconds,
      onEnd: () => ended(),
    });
    this.#streams.set(stream, collection);
    response.on('close', ended);
  }

  #waitForVersion(version: number, milliseconds: number): Promise<boolean> {
    return new Promise((resolve) => {
      const until = performance.now() + milliseconds;
      const look = () => {
        if (this.store.resourceVersion >= version) resolve(true);
        else if (performance.now() >= until) resolve(false);
        else setTimeout(look, 20);
      };
      look();
    });
  }

  #count({ resource: { group, version, resource } }: ResourcePath, verb: string): void {
    const key = `group="${group}",resource="${resource}",verb="${verb.toUpperCase()}",version="${version}"`;
    this.#requests.set(key, (this.#requests.get(key) ?? 0) + 1);
  }

  /** Under kube-apiserver's own names, so that one reader serves both. */
  #metrics(): string {
    const open = new Map<Collection, number>();
    for (const collection of this.#streams.values()) open.set(collection, (open.get(collection) ?? 0) + 1);
    const lines: string[] = [];
    for (const [{ resource: it }, count] of open) {
      lines.push(
        `apiserver_longrunning_requests{component="apiserver",group="${it.group}",resource="${it.resource}",verb="WATCH",version="${it.version}"} ${count}`,
      );
    }
    for (const [labels, count] of this.#requests)
      lines.push(`apiserver_request_total{component="apiserver",${labels}} ${count}`);
    for (const { resource: it, head } of this.store.collections) {
      lines.push(`apiserver_watch_cache_events_received_total{group="${it.group}",resource="${it.resource}"} ${head}`);
    }
    return `${lines.join('\n')}\n`;
  }
}

const NEWLINE = Buffer.from('\n');
