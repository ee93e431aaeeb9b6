import { LagHistogram } from './lag-histogram.ts';
import type { ToWorker, WorkerReport } from './load-client.ts';
import { LoadConnection } from './load-connection.ts';
import { emptyCounts, type LoadTotals } from './load-stream.ts';

// A process of the load client: holds connections and counts; its parent asks by messages.

const totals: { counts: LoadTotals['counts']; lag: LagHistogram } = { counts: emptyCounts(), lag: new LagHistogram() };
const connections: LoadConnection[] = [];

process.on('message', (message: ToWorker) => {
  if (message.type === 'open') open(message);
  else process.send?.(report(message));
});
// The parent is gone, or asks us to go.
process.on('disconnect', stop);
process.on('SIGTERM', stop);
// A terminal's Ctrl-C reaches the whole group; the parent decides.
process.on('SIGINT', () => undefined);

function open({ target, connections: plans, rampPerSecond }: Extract<ToWorker, { type: 'open' }>): void {
  for (const plan of plans) connections.push(new LoadConnection(target, plan, totals));
  const started = performance.now();
  let opened = 0;
  const timer = setInterval(() => {
    const due = Math.min(connections.length, Math.ceil(((performance.now() - started) / 1000) * rampPerSecond));
    for (; opened < due; opened += 1) connections[opened]?.open();
    if (opened === connections.length) clearInterval(timer);
  }, 10);
}

function report({ id, reset, streams }: Extract<ToWorker, { type: 'report' }>): WorkerReport {
  const all = connections.flatMap((connection) => connection.streams);
  const { user, system } = process.cpuUsage();
  const answer: WorkerReport = {
    id,
    counts: structuredClone(totals.counts),
    lag: totals.lag.toArray(),
    streams: streams ? all.map(({ count, versionSum }) => [count, versionSum] as const) : [],
    cpuSeconds: (user + system) / 1e6,
  };
  if (reset) {
    const { open: stillOpen, ready } = totals.counts;
    Object.assign(totals.counts, emptyCounts(), { open: stillOpen, ready });
    totals.lag.clear();
    for (const stream of all) stream.reset();
  }
  return answer;
}

function stop(): void {
  for (const connection of connections) connection.close();
  process.exit(0);
}
