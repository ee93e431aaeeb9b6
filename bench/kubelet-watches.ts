import { watchListPath } from './load-connection.ts';

/**
 * The paths of one node's eighteen watches, each on another resource: about what a kubelet, its kube-proxy and CSI
 * drivers hold. The first four follow the node, the fifth brings the fan-out: everybody watches it whole.
 */
export function kubeletWatches(node: string): string[] {
  const named = `metadata.name=${node}`;
  return [
    watchListPath('/api/v1/pods', `spec.nodeName=${node}`),
    watchListPath('/api/v1/nodes', named),
    watchListPath('/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases', named),
    watchListPath('/apis/storage.k8s.io/v1/csinodes', named),
    watchListPath('/api/v1/namespaces/demo/configmaps'),
    watchListPath('/api/v1/services'),
    watchListPath('/apis/discovery.k8s.io/v1/endpointslices'),
    watchListPath('/api/v1/namespaces'),
    watchListPath('/apis/node.k8s.io/v1/runtimeclasses'),
    watchListPath('/apis/storage.k8s.io/v1/csidrivers'),
    watchListPath('/apis/storage.k8s.io/v1/storageclasses'),
    watchListPath('/apis/storage.k8s.io/v1/volumeattachments'),
    watchListPath('/apis/networking.k8s.io/v1/networkpolicies'),
    watchListPath('/apis/networking.k8s.io/v1/ingressclasses'),
    watchListPath('/apis/scheduling.k8s.io/v1/priorityclasses'),
    watchListPath('/apis/policy/v1/poddisruptionbudgets'),
    watchListPath('/api/v1/persistentvolumes', 'metadata.name=none'),
    watchListPath('/api/v1/namespaces/default/serviceaccounts', 'metadata.name=default'),
  ];
}
