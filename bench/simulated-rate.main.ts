import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Encoding } from '@dogwatch/kube/lane.ts';
import { KubeClient } from '@dogwatch/test/support/kube-client.ts';
import { loadTarget, temporaryDirectory } from './cluster.ts';
import { cpuSeconds, pinToCpu } from './process-usage.ts';
import { RateReader } from './rate-reader.ts';
import type { RateReport } from './rate-writer.ts';
import { ServerProcess } from './server-process.ts';
import type { CountersReport } from './simulated-counters.ts';

// What one process of the simulated upstream can produce, to raw readers in this process, and what it costs both.
// Linux only (CPU by /proc). Prints one JSON line a run. Example: --rate=150000 --encoding=protobuf --readers=1

const { values } = parseArgs({
  options: {
    leases: { type: 'string', default: '100000' },
    rate: { type: 'string', default: '150000' },
    readers: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '5' },
    encoding: { type: 'string', default: 'protobuf' },
    seed: { type: 'string', default: '1' },
    /** Both processes on one core. */
    'one-core': { type: 'boolean', default: false },
  },
});

const LEASES = '/apis/coordination.k8s.io/v1/leases';
const WARM_UP_MS = 1_000;

const dir = await temporaryDirectory();
const kubeconfig = join(dir, 'upstream.kubeconfig');
const server = await ServerProcess.start({
  name: 'the simulated upstream',
  script: 'bench/simulated-upstream.main.ts',
  args: [
    '--nodes=0',
    `--fleet-nodes=${values.leases}`,
    `--lease-rate=${values.rate}`,
    `--seed=${values.seed}`,
    `--write-kubeconfig=${kubeconfig}`,
  ],
});
try {
  console.log(JSON.stringify(await measure()));
} finally {
  await server.stop();
  await rm(dir, { recursive: true });
}

async function measure(): Promise<object> {
  const { target } = await loadTarget(kubeconfig);
  const endpoint = { server: target.server, ca: target.ca ?? '' };
  const admin = new KubeClient(endpoint, { token: 'admin' });
  const readers: RateReader[] = [];
  const { metadata } = await admin.get<{ metadata: { resourceVersion: string } }>(`${LEASES}?limit=1`);
  for (let count = Number(values.readers); count > 0; count -= 1) readers.push(await openReader(metadata, endpoint));
  if (values['one-core']) for (const pid of [process.pid, server.pid]) pinToCpu(pid, 0);
  await pause(WARM_UP_MS);
  for (const reader of readers) reader.reset();
  const before = { upstream: cpuSeconds(server.pid), reader: cpuSeconds(process.pid), at: performance.now() };
  const earlier = await reportOf(admin);
  await pause(Number(values.seconds) * 1000);
  const seconds = (performance.now() - before.at) / 1000;
  const upstreamCpu = cpuSeconds(server.pid) - before.upstream;
  const readerCpu = cpuSeconds(process.pid) - before.reader;
  const sum = (of: (reader: RateReader) => number) => readers.reduce((total, reader) => total + of(reader), 0);
  const events = sum((reader) => reader.events);
  const writer = await reportOf(admin);
  for (const reader of readers) reader.close();
  admin.close();
  const perEvent = (cpu: number) => Number(((cpu * 1_000_000) / Math.max(1, events)).toFixed(3));
  return {
    encoding: values.encoding,
    oneCore: values['one-core'],
    readers: readers.length,
    wantedPerSecond: Number(values.rate),
    writtenPerSecond: Math.round((writer.written - earlier.written) / seconds),
    readPerSecondEach: Math.round(events / seconds / readers.length),
    megabytesPerSecond: Number((sum((reader) => reader.bytes) / seconds / 1e6).toFixed(1)),
    bytesPerEvent: Math.round(sum((reader) => reader.bytes) / Math.max(1, events)),
    upstreamMicrosPerEvent: perEvent(upstreamCpu),
    upstreamCpuShare: Number((upstreamCpu / seconds).toFixed(3)),
    readerMicrosPerEvent: perEvent(readerCpu),
    readerCpuShare: Number((readerCpu / seconds).toFixed(3)),
    gaps: sum((reader) => reader.gaps),
    skipped: writer.skipped - earlier.skipped,
    lateMsMax: writer.lateMicrosMax / 1000,
  };
}

function openReader(
  metadata: { resourceVersion: string },
  endpoint: { server: string; ca: string },
): Promise<RateReader> {
  if (values.encoding !== 'json' && values.encoding !== 'protobuf')
    throw new TypeError('--encoding is json or protobuf');
  const encoding: Encoding = values.encoding;
  const query = `watch=1&resourceVersion=${metadata.resourceVersion}`;
  return RateReader.open({ ...endpoint, token: 'admin', path: LEASES, query, encoding });
}

async function reportOf(admin: KubeClient): Promise<RateReport> {
  const { writers } = await admin.get<CountersReport>('/simulated/counters');
  const report = writers['leases'] as RateReport | undefined;
  if (report === undefined) throw new TypeError('the simulated upstream writes no leases');
  return report;
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
