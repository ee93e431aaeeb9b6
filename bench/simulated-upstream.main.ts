import { fstatSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { kubeconfig } from '@dogwatch/test/support/kube-client.ts';
import { populateFleets } from './rate-fleets.ts';
import { RateWriter } from './rate-writer.ts';
import { populate, SMALL_CLUSTER } from './simulated-population.ts';
import { SimulatedUpstream } from './simulated-upstream.ts';
import { DEFAULT_MIX, type Mix, SimulatedWriter } from './simulated-writer.ts';

// The simulated upstream by itself, so that its CPU is its own. One JSON line on stdout says where it serves.
// `--nodes` and `--rate` are a cluster held object by object and its mixed writes, up to 20,000 a second; the `--fleet-`
// flags a large one beside it, whose leases and pods are written up to 150,000 times a second.

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    nodes: { type: 'string', default: String(SMALL_CLUSTER.nodes) },
    'pods-per-node': { type: 'string', default: String(SMALL_CLUSTER.podsPerNode) },
    rate: { type: 'string', default: '0' },
    limit: { type: 'string', default: '0' },
    mix: {
      type: 'string',
      default: Object.entries(DEFAULT_MIX)
        .map(([kind, share]) => `${kind}=${share}`)
        .join(','),
    },
    window: { type: 'string', default: '102400' },
    'fleet-nodes': { type: 'string', default: '0' },
    'fleet-pods-per-node': { type: 'string', default: '1' },
    'fleet-namespaces': { type: 'string', default: '10' },
    'lease-rate': { type: 'string', default: '0' },
    'pod-rate': { type: 'string', default: '0' },
    seed: { type: 'string', default: '1' },
    'write-kubeconfig': { type: 'string' },
    user: { type: 'string', default: 'admin' },
  },
});

const upstream = await SimulatedUpstream.start({ port: whole('port'), window: whole('window') });
populate(upstream.store, { ...SMALL_CLUSTER, nodes: whole('nodes'), podsPerNode: whole('pods-per-node') });
const writers = fleetWriters();
const limit = whole('limit');
const writer = new SimulatedWriter({
  store: upstream.store,
  rate: whole('rate'),
  mix: parseMix(values.mix),
  ...(limit === 0 ? {} : { limit }),
});
if (values['write-kubeconfig'] !== undefined) {
  const text = kubeconfig({ server: upstream.url, ca: upstream.certificate }, { token: values.user });
  await writeFile(values['write-kubeconfig'], text, { mode: 0o600 });
}
writer.start();
for (const each of writers) each.start();
console.log(JSON.stringify({ msg: 'serving', server: upstream.url, rate: whole('rate') }));

const stop = () => {
  writer.stop();
  for (const each of writers) each.stop();
  void upstream.close().then(() => process.exit(0));
};
process.once('SIGTERM', stop);
process.once('SIGINT', stop);
// Whoever started this as a child holds its stdin; when they are gone, so is the reason to run.
const stdin = fstatSync(0);
if (stdin.isFIFO() || stdin.isSocket()) process.stdin.on('end', stop).resume();

function fleetWriters(): RateWriter[] {
  const nodes = whole('fleet-nodes');
  if (nodes === 0) return [];
  const { store, counters } = upstream;
  const population = { nodes, podsPerNode: whole('fleet-pods-per-node'), namespaces: whole('fleet-namespaces') };
  const fleets = populateFleets(store, population);
  const seed = whole('seed');
  return (['leases', 'pods'] as const).map((kind) => {
    const rate = whole(kind === 'leases' ? 'lease-rate' : 'pod-rate');
    const each = new RateWriter({ store, fleet: fleets[kind], rate, seed });
    counters.addWriter(kind, () => each.report());
    return each;
  });
}

type WholeNumber =
  | 'port'
  | 'nodes'
  | 'pods-per-node'
  | 'rate'
  | 'limit'
  | 'window'
  | 'fleet-nodes'
  | 'fleet-pods-per-node'
  | 'fleet-namespaces'
  | 'lease-rate'
  | 'pod-rate'
  | 'seed';

function whole(name: WholeNumber): number {
  const value = Number(values[name]);
  if (Number.isInteger(value) && value >= 0) return value;
  console.error(`--${name} must be a whole number, not "${values[name]}"`);
  process.exit(2);
}

function parseMix(text: string): Mix {
  const shares = Object.fromEntries(text.split(',').map((part) => part.split('='))) as Record<
    string,
    string | undefined
  >;
  const unknown = Object.keys(shares).filter((kind) => !(kind in DEFAULT_MIX));
  const share = (kind: keyof Mix) => Number(shares[kind] ?? '0');
  const mix: Mix = { lease: share('lease'), pod: share('pod'), configmap: share('configmap'), event: share('event') };
  if (
    unknown.length === 0 &&
    Object.values(mix).every((value) => Number.isInteger(value) && value >= 0 && value <= 1000)
  )
    return mix;
  console.error(`--mix must be like lease=60,pod=28,configmap=10,event=2, not "${text}"`);
  process.exit(2);
}
