import { execFileSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { KubeClient } from '@dogwatch/test/support/kube-client.ts';
import { parsePrometheusText, type Sample, sumOf } from '@dogwatch/test/support/prometheus-text.ts';
import { findCluster, loadTarget, temporaryDirectory } from './cluster.ts';
import { type DemoStatus, faultsOf, megabytes, milliseconds, number, statusBlock, statusLine } from './demo-status.ts';
import { DogwatchProcess } from './dogwatch-process.ts';
import { kubeletWatches } from './kubelet-watches.ts';
import { LagHistogram } from './lag-histogram.ts';
import { LoadClient, type LoadReport } from './load-client.ts';
import { residentBytes } from './process-usage.ts';
import { ServerProcess } from './server-process.ts';

// `make demo`: 3,600 watches on dogwatch, in front of the user's cluster or a simulated one, and what they cost.

const KUBELETS = 200;
const EVENTS_PER_SECOND = 1_000;
/** From the start of the run; the promise of the README. */
const OPEN_MS = 60_000;

/** Where dogwatch stands, and how the simulated kubelets show who they are. */
interface Upstream {
  readonly title: string;
  /** Undefined: $KUBECONFIG, which may be a list of files. */
  readonly kubeconfig: string | undefined;
  readonly nodes: readonly string[];
  /** A kubelet's own token; undefined: the kubeconfig's user. */
  readonly tokenOf: (node: string) => string | undefined;
  /** Watches open at the upstream, as it says itself. */
  readonly watches: () => Promise<number | undefined>;
}

const cleanups: (() => Promise<void>)[] = [];
let failure: Error | undefined;
let wake: (() => void) | undefined;
let stopping = false;

process.exitCode = await main();
process.exit();

async function main(): Promise<number> {
  // Under make and the launcher one Ctrl-C arrives more than once.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop());
  // The reader of a pipe may leave before us.
  process.stdout.on('error', () => stop());
  try {
    await demo();
    return failure === undefined ? 0 : 1;
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error));
    return 1;
  } finally {
    for (const cleanup of cleanups.toReversed()) await cleanup();
    if (failure !== undefined) console.error(`demo: ${failure.message}`);
  }
}

async function demo(): Promise<void> {
  const seconds = demoSeconds();
  const dir = await temporaryDirectory();
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  const upstream = (await ownCluster()) ?? (await simulated(dir));
  if (stopping) return;
  const dogwatch = await DogwatchProcess.start(upstream.kubeconfig, dir);
  cleanups.push(() => dogwatch.stop());
  dogwatch.process.onUnexpectedEnd(stop);
  console.log(`dogwatch serves ${dogwatch.server}, in front of ${upstream.title}`);
  const clients = await openWatches(dogwatch.kubeconfig, upstream);
  cleanups.push(() => clients.stop());
  await watchItRun({ clients, dogwatch, upstream, seconds });
}

function demoSeconds(): number {
  const text = process.env['DEMO_SECONDS'] ?? '';
  if (text === '') return Number.POSITIVE_INFINITY;
  const seconds = Number(text);
  if (!(seconds > 0)) throw new Error(`DEMO_SECONDS must be a number of seconds, not "${text}"`);
  return seconds;
}

/** The cluster of $KUBECONFIG if it can be used; says why not. */
async function ownCluster(): Promise<Upstream | undefined> {
  const kubeconfig = process.env['KUBECONFIG'] ?? '';
  if (kubeconfig === '') return undefined;
  const cluster = await findCluster();
  if (!cluster.found) {
    console.log(`the cluster of KUBECONFIG=${kubeconfig} cannot be used, a simulated one is: ${cluster.reason}`);
    return undefined;
  }
  const extra = Array.from({ length: KUBELETS }, (_, index) => `demo-kubelet-${index}`);
  return {
    title: `your cluster at ${cluster.server}`,
    kubeconfig: undefined,
    nodes: [...cluster.nodes, ...extra].slice(0, KUBELETS),
    tokenOf: () => undefined,
    watches: () => Promise.resolve(undefined),
  };
}

async function simulated(dir: string): Promise<Upstream> {
  const kubeconfig = join(dir, 'upstream.kubeconfig');
  const server = await ServerProcess.start({
    name: 'the simulated kube-apiserver',
    script: 'bench/simulated-upstream.main.ts',
    args: [`--nodes=${KUBELETS}`, `--rate=${EVENTS_PER_SECOND}`, `--write-kubeconfig=${kubeconfig}`],
  });
  cleanups.push(() => server.stop());
  server.onUnexpectedEnd(stop);
  const { target } = await loadTarget(kubeconfig);
  const admin = new KubeClient({ server: target.server, ca: target.ca ?? '' }, { token: 'admin' });
  cleanups.push(() => Promise.resolve(admin.close()));
  return {
    title: `a simulated kube-apiserver: ${KUBELETS} nodes, 4,000 pods, ${number(EVENTS_PER_SECOND)} writes per second`,
    kubeconfig,
    nodes: Array.from({ length: KUBELETS }, (_, index) => `node-${index}`),
    tokenOf: (node) => node,
    watches: async () => {
      const { body } = await admin.request('GET', '/metrics', { headers: { accept: 'text/plain' } });
      return sumOf(parsePrometheusText(body), 'apiserver_longrunning_requests', { verb: 'WATCH' });
    },
  };
}

async function openWatches(kubeconfig: string, { nodes, tokenOf }: Upstream): Promise<LoadClient> {
  const { target, authorization } = await loadTarget(kubeconfig);
  const connections = nodes.map((node) => {
    const token = tokenOf(node);
    const header = token === undefined ? authorization : `Bearer ${token}`;
    return { paths: kubeletWatches(node), ...(header === undefined ? {} : { authorization: header }) };
  });
  return LoadClient.start({ target, connections });
}

interface Run {
  readonly clients: LoadClient;
  readonly dogwatch: DogwatchProcess;
  readonly upstream: Upstream;
  readonly seconds: number;
}

async function watchItRun(run: Run): Promise<void> {
  const show = screen();
  const lag = new LagHistogram();
  const started = performance.now();
  let deliveries = 0;
  let faults = 0;
  let events: number | undefined;
  let at = started;
  let hinted = false;
  let last: DemoStatus | undefined;
  while (!stopping && performance.now() - started < run.seconds * 1000) {
    await pause(1_000 - ((performance.now() - started) % 1_000));
    if (stopping) break;
    const report = await run.clients.report({ reset: true });
    const now = performance.now();
    const metrics = await scrape(run.dogwatch);
    const eventsNow = metrics && sumOf(metrics, 'dogwatch_upstream_events_total');
    const interval = (now - at) / 1000;
    at = now;
    faults += faultsOf(report);
    deliveries += report.counts.deliveries;
    if (hinted) lag.add(report.lag);
    last = await statusOf(run, report, {
      interval,
      faults,
      seconds: Math.round((now - started) / 1000),
      events: rate(events, eventsNow, interval),
      lanes: metrics && sumOf(metrics, 'dogwatch_lanes'),
    });
    events = eventsNow;
    show(last);
    if (report.counts.ready < run.clients.total && now - started > OPEN_MS) {
      throw new Error(
        `only ${number(report.counts.ready)} of ${number(run.clients.total)} watches are open after ${OPEN_MS / 1000} s: ${JSON.stringify(report.counts.errors)}`,
      );
    }
    if (!hinted && report.counts.ready === run.clients.total) {
      hinted = true;
      show.say(whatNext(run.dogwatch.kubeconfig));
    }
  }
  summarize({ ...run, last, lag, deliveries, faults, seconds: (performance.now() - started) / 1000 });
}

/** dogwatch's own metrics; undefined if the scrape came too late: a dash, not the end of the demo. */
async function scrape(dogwatch: DogwatchProcess): Promise<readonly Sample[] | undefined> {
  try {
    return await dogwatch.metrics();
  } catch {
    return undefined;
  }
}

function rate(before: number | undefined, now: number | undefined, interval: number): number | undefined {
  return before === undefined || now === undefined ? undefined : Math.max(0, now - before) / interval;
}

async function statusOf(
  { clients, dogwatch, upstream }: Run,
  { counts, lag }: LoadReport,
  second: { interval: number; faults: number; seconds: number; events: number | undefined; lanes: number | undefined },
): Promise<DemoStatus> {
  const upstreamWatches = await upstream.watches().catch(() => undefined);
  return {
    seconds: second.seconds,
    watches: counts.ready,
    wanted: clients.total,
    eventsPerSecond: second.events,
    deliveriesPerSecond: counts.deliveries / second.interval,
    p50: inMilliseconds(lag.percentile(0.5)),
    p99: inMilliseconds(lag.percentile(0.99)),
    upstreamWatches: upstreamWatches ?? second.lanes,
    memoryBytes: residentBytes(dogwatch.pid),
    faults: second.faults,
  };
}

function inMilliseconds(micros: number | undefined): number | undefined {
  return micros === undefined ? undefined : micros / 1000;
}

interface Screen {
  (status: DemoStatus): void;
  /** Prints lines that stay. */
  say(lines: readonly string[]): void;
}

/** A rewritten block on a terminal, plain lines elsewhere. */
function screen(): Screen {
  const tty = process.stdout.isTTY;
  let drawn = 0;
  const erase = () => {
    if (drawn > 0) process.stdout.write(`\u001B[${drawn}A\u001B[0J`);
    drawn = 0;
  };
  const show = (status: DemoStatus) => {
    if (!tty) return console.log(statusLine(status));
    erase();
    const lines = ['', `${status.seconds} s`, ...statusBlock(status), ''];
    drawn = lines.length;
    process.stdout.write(`${lines.join('\n')}\n`);
  };
  const say = (lines: readonly string[]) => {
    erase();
    console.log(lines.join('\n'));
  };
  return Object.assign(show, { say });
}

function whatNext(kubeconfig: string): string[] {
  const command = `kubectl --kubeconfig ${kubeconfig} get pods -A -w`;
  const lead = hasKubectl() ? 'Try it from another terminal:' : 'With kubectl installed, try from another terminal:';
  return [
    '',
    `All watches are open. ${lead}`,
    `  ${command}`,
    ...(Number.isFinite(Number(process.env['DEMO_SECONDS'] || Number.NaN)) ? [] : ['Ctrl-C stops the demo.']),
    '',
  ];
}

function hasKubectl(): boolean {
  try {
    execFileSync('kubectl', ['version', '--client'], { stdio: 'ignore', timeout: 5_000 });
    return true;
  } catch {
    return false;
  }
}

function summarize(
  run: Run & { last: DemoStatus | undefined; lag: LagHistogram; deliveries: number; faults: number },
): void {
  const { last, lag } = run;
  const p50 = milliseconds(inMilliseconds(lag.percentile(0.5)));
  const p99 = milliseconds(inMilliseconds(lag.percentile(0.99)));
  console.log(
    [
      '',
      `${number(run.seconds)} s: ${number(last?.watches)} watches over dogwatch, ${number(last?.upstreamWatches)} on kube-apiserver.`,
      `${number(run.deliveries)} events delivered, lag p50 ${p50}, p99 ${p99}; faults: ${number(run.faults)}. dogwatch used ${megabytes(last?.memoryBytes)}.`,
    ].join('\n'),
  );
  if (run.faults > 0) failure ??= new Error(`${number(run.faults)} faults: see above`);
}

function stop(error?: Error): void {
  failure ??= error;
  stopping = true;
  wake?.();
}

function pause(milliseconds_: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds_);
    wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });
}
