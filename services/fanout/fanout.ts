import type { Clock } from '@dogwatch/process/clock.ts';
import { type Service, runAll } from '@dogwatch/process/lifecycle.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Metrics } from '@dogwatch/process/metrics.ts';
import type { Discovery } from '@dogwatch/upstream/discovery.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import type { LaneSource } from '@dogwatch/watch/lane-view.ts';
import { ApiHandler } from './api-handler.ts';
import { registerFanoutMetrics } from './fanout-metrics.ts';
import { type HttpServer, createHttpServer } from './http-server.ts';
import { createReverseProxy } from './reverse-proxy.ts';
import { createRights } from './rights.ts';
import type { ServingCertificate } from './serving-certificate.ts';
import { UpstreamShards } from './upstream-shards.ts';
import { TokenBucket } from './token-bucket.ts';
import { Watches } from './watches.ts';

/** Watches that only upstream's history can serve, held open upstream one by one. */
const FORWARDED_WATCHES = { perSecond: 20, burst: 200 };

export interface FanoutDependencies {
  readonly upstream: Upstream;
  readonly discovery: Discovery;
  readonly lanes: LaneSource;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly random: () => number;
}

export interface FanoutConfig {
  readonly address: string;
  readonly port: number;
  readonly certificate: ServingCertificate;
  /** PEM bundle of the authorities whose client certificates name users; undefined: none are asked for. */
  readonly clientCaFile: string | undefined;
  readonly maxConnections: number;
  /** Share of HTTP/2 requests whose connection gets GOAWAY, 0 to 0.02 (row H9). */
  readonly goawayChance: number;
  readonly bookmarkIntervalMs: number;
  readonly reauthorizeIntervalMs: number;
  readonly reviewCacheTtlMs: number;
  /** See WatchesConfig. */
  readonly drainMs: number;
}

/** The API edge as a service: TLS server, rights, watches and the reverse proxy. */
export interface Fanout extends Service {
  readonly listening: HttpServer['listening'];
  /** For `dogwatch status`. */
  status(): Readonly<Record<string, unknown>>;
}

/** Builds the edge; nothing listens until it runs. Rejects if the client CA file is of no use. */
export async function createFanout(deps: FanoutDependencies, config: FanoutConfig): Promise<Fanout> {
  const { upstream, discovery, lanes, clock, log, metrics, random } = deps;
  const rights = await createRights({ upstream, clock, log, metrics }, config);
  const watches = new Watches({ clock, log, rights, random }, config);
  const proxy = createReverseProxy({ upstream, log });
  const forwardBucket = new TokenBucket({ ...FORWARDED_WATCHES, now: () => clock.now() });
  const upstreamShards = new UpstreamShards({ upstream, clock, log });
  const serving = { discovery, rights, lanes, proxy, watches, forwardBucket, upstreamShards };
  const handler = new ApiHandler({ ...serving, clock, log });
  const server = createHttpServer({
    tls: { ...config.certificate, requestClientCertificate: config.clientCaFile !== undefined },
    address: config.address,
    port: config.port,
    limits: { maxConnections: config.maxConnections },
    isLast: () => random() < config.goawayChance,
    onRequest: (exchange) => handler.onRequest(exchange),
    onUpgrade: (exchange) => handler.onUpgrade(exchange),
    clock,
    log,
  });
  registerFanoutMetrics(metrics, { watches, server, handler });
  return {
    listening: server.listening,
    status: () => ({ watches: watches.size, connections: server.connectionCount }),
    // GOAWAY goes out first, then each watch ends behind a last bookmark, and then the connections.
    run: (signal) => runAll([[server, watches]], signal),
  };
}
