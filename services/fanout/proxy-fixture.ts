import type { IncomingHttpHeaders, RequestListener, Server } from 'node:http';
import { createServer, type ServerOptions } from 'node:https';
import { text } from 'node:stream/consumers';
import { createLogger } from '@dogwatch/process/log.ts';
import type { ClusterUser } from '@dogwatch/upstream/cluster-access.ts';
import type { UpstreamOptions } from '@dogwatch/upstream/upstream-client.ts';
import { accessTo, Fixture, serverTls } from '@dogwatch/upstream/upstream-fixture.ts';
import { createReverseProxy } from './reverse-proxy.ts';
import { startTestServer, type TestServer } from './test-server.ts';
import type { Caller, User } from './user.ts';

const user: User = { name: 'jane', uid: '', groups: ['devs'], extra: {} };

export const bearerCaller: Caller = { user, credential: { kind: 'bearer', token: 't' } };
export const certificateCaller: Caller = { user, credential: { kind: 'impersonate' } };

export interface ProxyOptions {
  /** kube-apiserver's part; or its port. */
  readonly upstream: RequestListener | number;
  readonly tls?: ServerOptions;
  readonly caller?: Caller;
  readonly user?: Partial<ClusterUser>;
  readonly prefix?: string;
  readonly options?: Partial<UpstreamOptions>;
}

export interface ProxyTest {
  /** dogwatch's server, with nothing but the proxy behind it. */
  readonly front: TestServer;
  /** kube-apiserver's, if it was given as a listener. */
  readonly upstreamServer: Server | undefined;
  readonly upstreamPort: number;
  /** Lines of the proxy's log. */
  readonly log: string[];
}

/** For tests: clients, dogwatch's server and proxy, and an upstream. */
export class ProxyFixture {
  readonly #fixture = new Fixture();
  readonly #fronts: TestServer[] = [];

  async start({
    upstream,
    tls,
    caller = bearerCaller,
    user: as,
    prefix = '',
    options,
  }: ProxyOptions): Promise<ProxyTest> {
    const upstreamServer = typeof upstream === 'number' ? undefined : createServer({ ...serverTls, ...tls }, upstream);
    const upstreamPort = typeof upstream === 'number' ? upstream : await this.#fixture.listen(upstreamServer!);
    const access = { server: new URL(`https://127.0.0.1:${upstreamPort}${prefix}`) };
    const log: string[] = [];
    const proxy = createReverseProxy({
      upstream: this.#fixture.upstream(accessTo({ port: upstreamPort, user: as ?? { token: 'own' }, access }), options),
      log: createLogger({ level: 'debug', pretty: false, destination: { write: (line) => void log.push(line) } }),
    });
    const front = await startTestServer({
      onRequest: (exchange) => proxy.proxy(exchange, caller),
      onUpgrade: (exchange) => proxy.upgrade(exchange, caller),
    });
    this.#fronts.push(front);
    return { front, upstreamServer, upstreamPort, log };
  }

  listen(server: Parameters<Fixture['listen']>[0]): Promise<number> {
    return this.#fixture.listen(server);
  }

  async close(): Promise<void> {
    // A tunnel ends when upstream ends it.
    await this.#fixture.close();
    for (const front of this.#fronts) await front.stop();
  }
}

/** What upstream was asked. */
export interface Seen {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** An upstream that answers 200 and keeps what it was asked. */
export function recorder(): { readonly seen: Seen[]; readonly listener: RequestListener } {
  const seen: Seen[] = [];
  return {
    seen,
    listener: (request, response) => {
      void text(request).then((body) => {
        const { method, url, headers } = request;
        seen.push({ method, url, headers, body });
        response.end('fine');
      });
    },
  };
}
