// Keeps an informer of ConfigMaps with the official client and prints what it sees, a JSON line each.
// usage: watch-configmaps.js informer KUBECONFIG NAMESPACE TIMEOUT_SECONDS [SELECTOR]
import { CoreV1Api, KubeConfig, makeInformer } from '@kubernetes/client-node';

const [, kubeconfig, namespace, timeout, labelSelector] = process.argv.slice(2);

function say(type, what) {
  process.stdout.write(`${JSON.stringify({ type, ...what })}\n`);
}

function sayObject(type, { metadata }) {
  say(type, {
    key: `${metadata.namespace}/${metadata.name}`,
    uid: metadata.uid,
    rv: metadata.resourceVersion,
    labels: metadata.labels ?? {},
  });
}

const config = new KubeConfig();
config.loadFromFile(kubeconfig);
const api = config.makeApiClient(CoreV1Api);
let listings = 0;
async function list() {
  listings += 1;
  if (listings > 1) say('RESTARTED', {});
  const listing = await api.listNamespacedConfigMap({ namespace, labelSelector });
  // The informer takes the objects over in the same turn of the event loop as it gets them.
  setImmediate(() => say('SYNCED', { rv: listing.metadata.resourceVersion }));
  return listing;
}

// The client has no option for the end of a watch by the server; what is in the path it keeps.
const path = `/api/v1/namespaces/${namespace}/configmaps?timeoutSeconds=${timeout}`;
const informer = makeInformer(config, path, list, labelSelector);
informer.on('add', (object) => sayObject('ADDED', object));
informer.on('update', (object) => sayObject('MODIFIED', object));
informer.on('delete', (object) => sayObject('DELETED', object));
informer.on('error', (error) => {
  say('ERROR', { message: String(error) });
  setTimeout(() => informer.start(), 1_000);
});
let connections = 0;
informer.on('connect', () => {
  connections += 1;
  if (connections > 1) say('RESUMED', {});
});
await informer.start();
