import type { ConfigMapWriter } from './config-map-writer.ts';
import { kubeletWatches } from './kubelet-watches.ts';
import { LoadClient, type LoadReport } from './load-client.ts';
import { type LoadTarget, watchListPath } from './load-connection.ts';
import { cpuSeconds, residentBytes } from './process-usage.ts';

/** Who serves the watches of a round. */
export type SubjectName = 'kube-apiserver' | 'dogwatch';

export interface Subject {
  readonly name: SubjectName;
  readonly pid: number;
  readonly target: LoadTarget;
  readonly authorization: string;
}

/** A shape of load. */
export interface CompareCase {
  readonly name: string;
  readonly connections: number;
  readonly watchesPerConnection: number;
  /** Updates per second; each is delivered to every watch. */
  readonly rate: number;
}

/** One measured round, raw. */
export interface Round {
  readonly case: string;
  readonly subject: SubjectName;
  readonly deliveries: number;
  readonly seconds: number;
  /** CPU of the subject. */
  readonly cpuSeconds: number;
  /** CPU of kube-apiserver: the subject itself, or what dogwatch's rounds cost it (the writes included). */
  readonly apiserverCpuSeconds: number;
  readonly clientCpuSeconds: number;
  readonly lagP50Ms: number;
  readonly lagP99Ms: number;
}

/** Memory for idle watches, raw. */
export interface IdleRound {
  readonly subject: SubjectName;
  readonly watches: number;
  readonly beforeBytes: number;
  readonly afterBytes: number;
}

/** Deliveries are missing, doubled or out of order: the comparison would be worthless. */
export class IncompleteDeliveries extends Error {
  readonly code = 'INCOMPLETE_DELIVERIES';
}

const OPEN_MS = 60_000;
const SETTLE_MS = 1_500;
const DRAIN_MS = 15_000;
/** Long enough for a garbage collection or two of the server after the rush of opening. */
const IDLE_SETTLE_MS = 5_000;
const CLIENT_CPU = 1;

export interface RoundOptions {
  readonly subject: Subject;
  readonly apiserverPid: number;
  readonly compareCase: CompareCase;
  readonly writer: ConfigMapWriter;
  /** How long to write. */
  readonly seconds: number;
  readonly pinned: boolean;
}

/** Opens the case's watches on the subject, writes, and holds every stream against what was written. */
export async function measureRound(options: RoundOptions): Promise<Round> {
  const { subject, apiserverPid, compareCase, writer, pinned } = options;
  const path = watchListPath(writer.path);
  const paths = Array.from({ length: compareCase.watchesPerConnection }, () => path);
  const connections = Array.from({ length: compareCase.connections }, () => ({
    paths,
    authorization: subject.authorization,
  }));
  const clients = LoadClient.start({ target: subject.target, connections, ...(pinned ? { cpu: CLIENT_CPU } : {}) });
  try {
    await clients.ready(OPEN_MS);
    await pause(SETTLE_MS);
    const { cpuSeconds: clientBefore } = await clients.report({ reset: true });
    const before = { subject: cpuSeconds(subject.pid), apiserver: cpuSeconds(apiserverPid), at: performance.now() };
    const written = await writer.run(Math.round(compareCase.rate * options.seconds), compareCase.rate);
    const report = await drained(clients, written.count * clients.total);
    const seconds = (performance.now() - before.at) / 1000;
    const used = cpuSeconds(subject.pid) - before.subject;
    const apiserverUsed = cpuSeconds(apiserverPid) - before.apiserver;
    verify(report, written, `${subject.name}, ${compareCase.name}`);
    return {
      case: compareCase.name,
      subject: subject.name,
      deliveries: report.counts.deliveries,
      seconds,
      cpuSeconds: used,
      apiserverCpuSeconds: apiserverUsed,
      clientCpuSeconds: report.cpuSeconds - clientBefore,
      lagP50Ms: (report.lag.percentile(0.5) ?? 0) / 1000,
      lagP99Ms: (report.lag.percentile(0.99) ?? 0) / 1000,
    };
  } finally {
    await clients.stop();
  }
}

/** Resolves when as many deliveries as expected have arrived, or none has for a while. */
async function drained(clients: LoadClient, expected: number): Promise<LoadReport> {
  const until = performance.now() + DRAIN_MS;
  for (;;) {
    const report = await clients.report({ streams: true });
    if (report.counts.deliveries >= expected || performance.now() > until) return report;
    await pause(100);
  }
}

function verify({ counts, streams }: LoadReport, written: { count: number; versionSum: number }, where: string): void {
  const wrong = streams.filter(
    ([count, versionSum]) => count !== written.count || versionSum !== written.versionSum,
  ).length;
  const errors = Object.keys(counts.errors).length;
  if (wrong + counts.disordered + counts.repeated + counts.ended + errors === 0) return;
  throw new IncompleteDeliveries(
    `${where}: ${wrong} of ${streams.length} watches did not get exactly the ${written.count} updates ` +
      `(${counts.disordered} out of order, ${counts.repeated} repeated, ${counts.ended} watches ended, errors ${JSON.stringify(counts.errors)})`,
  );
}

/** Memory before and after opening idle watches on eighteen resources; the server must be freshly started. */
export async function measureIdle(subject: Subject, connections: number, pinned: boolean): Promise<IdleRound> {
  const plan = (count: number) => ({
    target: subject.target,
    connections: Array.from({ length: count }, (_, index) => ({
      paths: kubeletWatches(`bench-${index}`),
      authorization: subject.authorization,
    })),
    ...(pinned ? { cpu: CLIENT_CPU } : {}),
  });
  // What the first watch of a resource costs is no cost of a watch.
  const warm = LoadClient.start(plan(1));
  try {
    await warm.ready(OPEN_MS);
  } finally {
    await warm.stop();
  }
  await pause(IDLE_SETTLE_MS);
  const beforeBytes = memoryOf(subject);
  const clients = LoadClient.start(plan(connections));
  try {
    await clients.ready(OPEN_MS);
    await pause(IDLE_SETTLE_MS);
    return { subject: subject.name, watches: clients.total, beforeBytes, afterBytes: memoryOf(subject) };
  } finally {
    await clients.stop();
  }
}

function memoryOf({ name, pid }: Subject): number {
  const bytes = residentBytes(pid);
  if (bytes === undefined) throw new Error(`cannot read the memory of ${name} (pid ${pid})`);
  return bytes;
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
