import { watchListPath } from './load-connection.ts';
import { nodeName, podNamespace, type RatePopulation } from './rate-fleets.ts';

/** What a kubelet watches, and who it is. */
export interface SimulatedKubelet {
  readonly node: string;
  /** Authorization header; the simulated upstream knows a node's name as its kubelet's token. */
  readonly authorization: string;
  /** Paths with their queries, each a watch-list, as LoadConnectionPlan takes them. */
  readonly paths: readonly string[];
}

/**
 * So many kubelets of a large simulated cluster, spread evenly over its nodes. Each watches what is its own and nothing
 * that everybody has: its pods, its node, its lease, and by name the configmap that its pods mount, in each of their
 * namespaces. So what they read together is their share of the cluster. Throws RangeError if there are fewer nodes.
 */
export function kubeletPopulation(population: RatePopulation, kubelets: number): SimulatedKubelet[] {
  if (kubelets > population.nodes) throw new RangeError(`${kubelets} kubelets on ${population.nodes} nodes`);
  const stride = population.nodes / kubelets;
  return Array.from({ length: kubelets }, (_, at) => kubeletOf(population, Math.floor(at * stride)));
}

function kubeletOf(population: RatePopulation, index: number): SimulatedKubelet {
  const node = nodeName(index);
  const named = `metadata.name=${node}`;
  const slots = Array.from({ length: population.podsPerNode }, (_, slot) => podNamespace(population, index, slot));
  return {
    node,
    authorization: `Bearer ${node}`,
    paths: [
      watchListPath('/api/v1/pods', `spec.nodeName=${node}`),
      watchListPath('/api/v1/nodes', named),
      watchListPath('/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases', named),
      ...[...new Set(slots)].map((namespace) =>
        watchListPath(`/api/v1/namespaces/${namespace}/configmaps`, 'metadata.name=kube-root-ca.crt'),
      ),
    ],
  };
}
