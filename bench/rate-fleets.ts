import { SimulatedFleet } from './simulated-fleet.ts';
import type { KubeObject } from './simulated-kube-object.ts';
import { addNamespace, CREATED, lease, loader, node, pod } from './simulated-population.ts';
import { findResource, type SimulatedResource } from './simulated-resources.ts';
import type { SimulatedStore } from './simulated-store.ts';
import { type Place, STAMP_MARK, TIME_MARK } from './simulated-template.ts';
import { WRITTEN_ANNOTATION } from './written-stamp.ts';

export interface RatePopulation {
  /** Up to a million. Each node has a Node and a Lease, node-000000 and so on. */
  readonly nodes: number;
  /** Up to a hundred; web-000000-00 and so on. */
  readonly podsPerNode: number;
  /** Up to a hundred: app-00 and so on, over which each node's pods are spread. */
  readonly namespaces: number;
  /** True: leases are spread over the namespaces by node, as those of leader elections; else all are in kube-node-lease. */
  readonly leasesSpread?: boolean;
}

export interface RateFleets {
  readonly leases: SimulatedFleet;
  readonly nodes: SimulatedFleet;
  readonly pods: SimulatedFleet;
}

const NODE_MARK = '~NNNNN';
const SLOT_MARK = '~K';
const NAMESPACE_MARK = '~M';
const UID_MARK = '~UUUUUUUU';

/** The name of a node of the fleet; also the token of its kubelet. */
export function nodeName(index: number): string {
  return `node-${String(index).padStart(6, '0')}`;
}

/** The namespace of a node's pod. */
export function podNamespace(population: RatePopulation, nodeIndex: number, slot: number): string {
  return `app-${String((nodeIndex + slot) % population.namespaces).padStart(2, '0')}`;
}

/**
 * Adds a cluster too large to be held object by object; the store needs versions of ten digits. Leases of about 400
 * bytes in protobuf and 800 in JSON, pods of 2 and 3 KB. A lease says in its renewTime when it was written, pods and
 * nodes in an annotation.
 */
export function populateFleets(store: SimulatedStore, population: RatePopulation): RateFleets {
  const { nodes, podsPerNode, namespaces, leasesSpread = false } = population;
  const add = loader(store);
  for (let index = 0; index < namespaces; index += 1) addNamespace(add, podNamespace(population, index, 0));
  const ofNode = [{ mark: NODE_MARK, valueOf: (index: number) => index }];
  const ofLease = [...ofNode, { mark: NAMESPACE_MARK, valueOf: (index: number) => index % namespaces }];
  const ofPod = [
    { mark: NODE_MARK, valueOf: (index: number) => Math.floor(index / podsPerNode) },
    { mark: SLOT_MARK, valueOf: (index: number) => index % podsPerNode },
    {
      mark: NAMESPACE_MARK,
      valueOf: (index: number) => (Math.floor(index / podsPerNode) + (index % podsPerNode)) % namespaces,
    },
  ];
  const fleets = {
    leases: fleet(find('coordination.k8s.io', 'leases'), nodes, { object: markedLease(leasesSpread), places: ofLease }),
    nodes: fleet(find('', 'nodes'), nodes, { object: stamped(node(`node-${NODE_MARK}`, 0)), places: ofNode }),
    pods: fleet(find('', 'pods'), nodes * podsPerNode, { object: stamped(markedPod()), places: ofPod }),
  };
  for (const each of Object.values(fleets)) store.loadFleet(each);
  store.forget();
  return fleets;
}

function fleet(
  resource: SimulatedResource,
  size: number,
  { object, places }: { object: KubeObject; places: readonly Place[] },
): SimulatedFleet {
  const { name = '', namespace = '' } = object.metadata;
  return new SimulatedFleet({
    resource,
    size,
    object,
    name,
    namespace,
    uid: `${uidPrefix(resource)}-4000-8000-000${UID_MARK}`,
    creationTimestamp: CREATED,
    places: [...places, { mark: UID_MARK, valueOf: (index) => index }],
  });
}

/** Uids of one cluster differ between its resources too. */
function uidPrefix({ resource }: SimulatedResource): string {
  return `${Buffer.from(resource.slice(0, 4)).toString('hex').padEnd(8, '0')}-0000`;
}

function find(group: string, resource: string): SimulatedResource {
  const found = findResource({ group, version: 'v1', resource });
  if (found === undefined) throw new TypeError(`the simulated upstream serves no ${resource}`);
  return found;
}

function markedLease(spread: boolean): KubeObject {
  const object = lease(`node-${NODE_MARK}`);
  const { annotations: _stamp, ...rest } = object.metadata;
  const metadata = spread ? { ...rest, namespace: `app-${NAMESPACE_MARK}` } : rest;
  return { ...object, metadata, spec: { ...(object['spec'] as object), renewTime: TIME_MARK } };
}

function markedPod(): KubeObject {
  return pod({
    namespace: `app-${NAMESPACE_MARK}`,
    name: `web-${NODE_MARK}-${SLOT_MARK}`,
    nodeName: `node-${NODE_MARK}`,
    index: 0,
    slot: 0,
  });
}

function stamped(object: KubeObject): KubeObject {
  return { ...object, metadata: { ...object.metadata, annotations: { [WRITTEN_ANNOTATION]: STAMP_MARK } } };
}
