import { eventually } from '../support/eventually.ts';
import type { KubeClient } from '../support/kube-client.ts';

/** Of each resource one sorted line for each object, without what differs from run to run (names of pods, times, addresses). */
export type ClusterState = Readonly<Record<string, readonly string[]>>;

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
}

interface Endpoint {
  readonly conditions: Readonly<Record<string, boolean | undefined>>;
}

interface Item {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly finalizers?: readonly string[];
    readonly ownerReferences?: readonly { readonly kind: string; readonly name: string }[];
    readonly deletionTimestamp?: string;
  };
  readonly data?: Readonly<Record<string, string>>;
  readonly endpoints?: readonly Endpoint[] | null;
  readonly status?: Readonly<Record<string, unknown>> & { readonly conditions?: readonly Condition[] };
}

/** How the objects of a collection are told. */
const RESOURCES: Readonly<Record<string, (item: Item) => (string | undefined)[]>> = {
  '/api/v1/namespaces': (item) => [item.metadata.name, phase(item), ...conditions(item)],
  '/api/v1/nodes': (item) => [item.metadata.name, ...conditions(item)],
  '/api/v1/pods': (item) => [item.metadata.namespace, label(item, 'app'), phase(item), ...conditions(item)],
  '/api/v1/services': named,
  '/api/v1/secrets': named,
  '/api/v1/serviceaccounts': named,
  '/api/v1/configmaps': (item) => [
    ...named(item),
    ...(item.metadata.ownerReferences?.map(({ kind, name }) => `${kind}/${name}`) ?? []),
    ...['size', 'colour'].map((key) => item.data?.[key]),
  ],
  '/apis/apps/v1/deployments': (item) => [...named(item), ...numbers(item), ...conditions(item)],
  '/apis/apps/v1/replicasets': (item) => [
    ...named(item),
    item.metadata.annotations?.['deployment.kubernetes.io/revision'],
    ...numbers(item),
  ],
  '/apis/apps/v1/statefulsets': (item) => [...named(item), ...numbers(item)],
  '/apis/apps/v1/daemonsets': (item) => [...named(item), ...numbers(item)],
  '/apis/apps/v1/controllerrevisions': named,
  '/apis/batch/v1/jobs': (item) => [...named(item), ...numbers(item), ...conditions(item)],
  '/apis/policy/v1/poddisruptionbudgets': (item) => [...named(item), ...numbers(item), ...conditions(item)],
  '/apis/coordination.k8s.io/v1/leases': (item) => (item.metadata.namespace === 'kube-system' ? [] : named(item)),
  '/apis/discovery.k8s.io/v1/endpointslices': (item) => [
    item.metadata.namespace,
    label(item, 'kubernetes.io/service-name'),
    ...(item.endpoints ?? []).map(({ conditions: its }) => ready(its)),
  ],
  '/apis/dogwatch.test/v1/widgets': (item) => [
    ...named(item),
    ...(item.metadata.finalizers ?? []),
    JSON.stringify(item.status),
  ],
};

/** The state of a cluster once it has not changed for two seconds and nothing is on its way out. */
export async function settledState(direct: KubeClient, timeoutMs: number): Promise<ClusterState> {
  let last = '';
  return eventually({ what: 'a cluster at rest', timeoutMs, everyMs: 2_000 }, async () => {
    const { state, leaving } = await clusterState(direct);
    const text = JSON.stringify(state);
    const settled = leaving === 0 && text === last;
    last = text;
    return settled && state;
  });
}

async function clusterState(direct: KubeClient): Promise<{ readonly state: ClusterState; readonly leaving: number }> {
  const state: Record<string, readonly string[]> = {};
  let leaving = 0;
  for (const [path, tell] of Object.entries(RESOURCES)) {
    const { items } = await direct.get<{ items: Item[] }>(path);
    leaving += items.filter(({ metadata }) => metadata.deletionTimestamp !== undefined).length;
    const lines = items.map((item) => tell(item).filter((part) => part !== undefined));
    state[path.split('/').at(-1) ?? path] = lines
      .filter(({ length }) => length > 0)
      .map((line) => line.join(' '))
      .toSorted();
  }
  return { state, leaving };
}

function named({ metadata: { namespace, name } }: Item): string[] {
  return [`${namespace}/${name}`];
}

function label({ metadata: { labels } }: Item, name: string): string | undefined {
  return labels?.[name];
}

function phase({ status }: Item): string | undefined {
  return typeof status?.['phase'] === 'string' ? status['phase'] : undefined;
}

/** The counts of a status; the generation depends on how many steps a rollout took. */
function numbers({ status = {} }: Item): string[] {
  return Object.entries(status)
    .flatMap(([key, value]) => (typeof value === 'number' && key !== 'observedGeneration' ? `${key}=${value}` : []))
    .toSorted();
}

function ready({ ready: isReady, serving, terminating }: Endpoint['conditions']): string {
  return `ready=${isReady} serving=${serving} terminating=${terminating}`;
}

function conditions({ status }: Item): string[] {
  const told = ({ type, status: its, reason }: Condition): string =>
    `${type}=${its}${reason === undefined ? '' : `(${reason})`}`;
  return (status?.conditions ?? []).map(told).toSorted();
}
