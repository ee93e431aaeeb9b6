import { once } from 'node:events';
import type { Bus } from '@dogwatch/bus/bus.ts';
import { LaneDirectory } from '@dogwatch/bus/lane-directory.ts';
import { LeaderBus } from '@dogwatch/bus/leader-bus.ts';
import { Membership } from '@dogwatch/bus/membership.ts';
import { createNatsBus } from '@dogwatch/bus/nats-bus.ts';
import { createNatsControl, type NatsControl } from '@dogwatch/bus/nats-control.ts';
import type { NatsPort } from '@dogwatch/bus/nats-port.ts';
import { type Clock, systemClock } from '@dogwatch/process/clock.ts';
import type { Check } from '@dogwatch/process/health.ts';
import type { Service } from '@dogwatch/process/lifecycle.ts';
import { createLogger, isPretty, levelOfVerbosity, type Log } from '@dogwatch/process/log.ts';
import { createMetrics, type Metrics } from '@dogwatch/process/metrics.ts';
import { version } from '@dogwatch/process/version.ts';
import { registerBusMetrics } from './bus-metrics.ts';
import type { MemberConfig, Role } from './member-options.ts';
import { connect } from './nats-connection.ts';

/** NATS may start at the same time as we do. */
const CONNECT_TIMEOUT_MS = 30_000;

type Status = Readonly<Record<string, unknown>>;

/** A part of a process that can say how it is. */
interface Reporting {
  status(): Status;
}

/** What a process of the distributed form has in common with the others, whatever its role. */
export interface Member {
  readonly port: NatsPort;
  /** Requests about a lane go to the ingest that leads it. */
  readonly bus: Bus;
  readonly control: NatsControl;
  readonly membership: Membership;
  readonly directory: LaneDirectory;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly random: () => number;
  /** For /readyz. */
  readonly connected: Check;
  /** Answers `dogwatch status` with all that `parts` say of themselves. */
  statusOf(...parts: readonly Reporting[]): Service;
}

/** The log of a process, as its options say. */
export function memberLog(config: MemberConfig): Log {
  const pretty = isPretty(config.logFormat, process.stderr.isTTY);
  return createLogger({ level: levelOfVerbosity(config.v), pretty });
}

/** Connects to NATS for as long as `use` takes. Rejects with errors whose message says what to do. */
export async function withMember(
  role: Role,
  { config, log }: { readonly config: MemberConfig; readonly log: Log },
  use: (member: Member) => Promise<void>,
): Promise<void> {
  const { name, natsPrefix: prefix, natsReplicas: replicas } = config;
  const clock = systemClock;
  const metrics = createMetrics();
  const port = await connect(config, `dogwatch ${name}`, CONNECT_TIMEOUT_MS);
  const live = createNatsBus({ port, clock, log, prefix });
  registerBusMetrics(metrics, live);
  let control: NatsControl | undefined;
  try {
    control = await createNatsControl({ port, clock, log, prefix, stored: { replicas, storage: 'file' } });
    log.info({ server: port.server.name, version: port.server.version }, 'connected to NATS');
    const directory = new LaneDirectory(control);
    const bus = new LeaderBus(live, { leaderOf: (lane) => directory.leaderOf(lane), clock });
    await use({
      port,
      bus,
      control,
      membership: new Membership({ control, clock, log, role, name, details: () => ({ version }) }),
      directory,
      clock,
      log,
      metrics,
      random: Math.random,
      connected: { name: 'nats', check: () => (live.connected ? undefined : 'disconnected from NATS') },
      statusOf: (...parts) => statusService(bus, name, parts),
    });
  } finally {
    await control?.close();
    await live.close();
  }
}

function statusService(bus: Bus, name: string, parts: readonly Reporting[]): Service {
  return {
    async run(signal) {
      const answer = (): Status => Object.assign({}, ...parts.map((part) => part.status())) as Status;
      const stop = bus.serve('status', () => Promise.resolve(answer()), name);
      if (!signal.aborted) await once(signal, 'abort');
      stop();
    },
  };
}
