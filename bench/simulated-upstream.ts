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
import { contentType, negotiateStatus } from '@dogwatch/kube/content-negotiation.ts';
import { statusJson, statusProtobuf } from '@dogwatch/kube/status-encoding.ts';
import { isPathAllowed, type SimulatedUser } from './simulated-access.ts';
import { SimulatedCounters } from './simulated-counters.ts';
import { discover } from './simulated-discovery.ts';
import { SimulatedFaults } from './simulated-faults.ts';
import { answer, header, readBody, sendChunks } from './simulated-http.ts';
import { getObject, list, methodNotAllowed, type ReadContext, startWatch } from './simulated-reads.ts';
import { isTrue, negotiate, parseListOptions, parseResourcePath, type ResourcePath } from './simulated-request.ts';
import { SIMULATED_RESOURCES } from './simulated-resources.ts';
import { answerReview, reviewResource } from './simulated-reviews.ts';
import { authenticate, authorize, forbiddenPath, nameIn, verbOf } from './simulated-rights.ts';
import { StatusError } from './simulated-status.ts';
import { SimulatedStore } from './simulated-store.ts';
import { SimulatedValve } from './simulated-valve.ts';
import { viewed } from './simulated-view.ts';
import { SimulatedWatches } from './simulated-watches.ts';
import { write } from './simulated-writes.ts';

export interface SimulatedUpstreamOptions {
  /** Default 0: any free port of 127.0.0.1. */
  readonly port?: number;
  /** Events each resource keeps. Default 102,400, the most that kube-apiserver keeps. */
  readonly window?: number;
  /** Streams per HTTP/2 connection, as kube-apiserver's flag; default 100 (protocol H6). */
  readonly maxStreams?: number;
}

const DAY_MS = 86_400_000;
/** Ten digits, so that a version never changes its length. */
const FIRST_VERSION = 1_000_000_000;

type Handled = {
  readonly request: Http2ServerRequest;
  readonly response: Http2ServerResponse;
  readonly url: URL;
  readonly user: SimulatedUser;
};

/**
 * A look-alike of kube-apiserver for rates that the real one and etcd cannot make on a small machine, and for faults
 * they cannot be told to have: LIST, WATCH and GET over HTTP/1.1 and HTTP/2, one counter of versions, reviews,
 * discovery and plain writes; JSON, and protobuf where the resource has a schema. No Table. Beside it, for tests:
 * `POST /simulated/faults` (SimulatedFaults) and `GET /simulated/counters` (SimulatedCounters), for admins.
 */
export class SimulatedUpstream {
  readonly store: SimulatedStore;
  readonly counters = new SimulatedCounters();
  readonly faults: SimulatedFaults;
  /** PEM of its self-signed certificate. */
  readonly certificate: string;
  readonly #server: Http2SecureServer;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #sockets = new Set<Socket>();
  readonly #valve = new SimulatedValve();
  readonly #watches = new SimulatedWatches(this.counters, this.#valve);
  readonly #requests = new Map<string, number>();
  readonly #reads: ReadContext;

  private constructor({ window = 102_400, maxStreams = 100 }: SimulatedUpstreamOptions) {
    this.store = new SimulatedStore(SIMULATED_RESOURCES, window, FIRST_VERSION);
    this.faults = new SimulatedFaults({
      store: this.store,
      watches: this.#watches,
      valve: this.#valve,
      cutConnections: (exceptPort) => this.dropConnections(exceptPort),
    });
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
    return this.#watches.size;
  }

  /** Cuts every connection (but one, by its client's port), as a crash does; it goes on serving. */
  dropConnections(exceptPort?: number): void {
    const spared = (socket: Socket | undefined) => exceptPort !== undefined && socket?.remotePort === exceptPort;
    for (const session of this.#sessions) if (!spared(session.socket)) session.destroy();
    for (const socket of this.#sockets) if (!spared(socket)) socket.destroy();
  }

  async close(): Promise<void> {
    this.#valve.close();
    for (const stream of this.#watches.streams()) stream.close();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.dropConnections();
    await closed;
  }

  async #serve(request: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
    response.on('error', () => response.destroy());
    response.setHeader('audit-id', header(request, 'audit-id') ?? randomUUID());
    response.setHeader('cache-control', 'no-cache, private');
    try {
      const handled = {
        request,
        response,
        url: new URL(request.url, 'https://upstream'),
        user: authenticate(request),
      };
      if (handled.url.pathname.startsWith('/simulated/')) return await this.#control(handled);
      await this.#valve.opened;
      await this.#route(handled);
    } catch (error) {
      const status =
        error instanceof StatusError ? error : new StatusError(500, { message: `internal error: ${String(error)}` });
      if (response.headersSent) response.destroy();
      else answerStatus(response, header(request, 'accept'), status);
    }
  }

  /** Answers in a hang too. Throws StatusError. */
  async #control({ request, response, url, user }: Handled): Promise<void> {
    if (!user.groups.includes('system:masters')) throw forbiddenPath(user, url.pathname);
    const what = `${request.method} ${url.pathname}`;
    if (what === 'GET /simulated/counters') return answer(response, 200, `${JSON.stringify(this.counters)}\n`);
    if (what !== 'POST /simulated/faults') throw methodNotAllowed();
    const done = this.faults.apply(await readBody(request), request.socket.remotePort);
    answer(response, 200, `${JSON.stringify(done)}\n`);
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
    negotiate(header(request, 'accept'), { list: false, protobuf: false });
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
    return this.#read(handled, target, watching);
  }

  async #read({ request, response, url }: Handled, target: ResourcePath, watching: boolean): Promise<void> {
    const { resource } = target;
    const collection = this.store.collection(resource.group, resource.resource);
    const isList = target.name === '';
    const wire = negotiate(header(request, 'accept'), {
      list: isList && !watching,
      protobuf: resource.protobuf !== undefined,
    });
    if (!isList && !watching) {
      const bytes = viewed(getObject(collection, target), wire);
      const type = { 'content-type': contentType(wire.encoding, false) };
      return answer(response, 200, wire.encoding === 'json' ? Buffer.concat([bytes, NEWLINE]) : bytes, type);
    }
    const options = parseListOptions(target, url.searchParams);
    if (watching) {
      const start = startWatch(this.#reads, collection, options, wire);
      return this.#watches.serve({ request, response, collection, options, wire, start });
    }
    const counts = this.counters.of(resource);
    if (wire.view === 'object') counts.lists += 1;
    else counts.metadataLists += 1;
    const chunks = await list(this.#reads, collection, options, wire);
    return sendChunks(response, chunks, { wire, valve: this.#valve, counts });
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
    const lines: string[] = [];
    for (const [{ resource: it }, count] of this.#watches.byCollection()) {
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

/** A refusal in the encoding the client asked for (protocol G14). */
function answerStatus(response: Http2ServerResponse, accept: string | undefined, error: StatusError): void {
  const protobuf = negotiateStatus(accept)?.mediaType === 'protobuf';
  const body = protobuf ? statusProtobuf(error.status) : statusJson(error.status);
  const type = { 'content-type': contentType(protobuf ? 'protobuf' : 'json', false) };
  answer(response, error.code, body, { ...type, ...error.headers });
}
