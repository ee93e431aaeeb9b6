import { eventually } from '../support/eventually.ts';
import type { KubeClient } from '../support/kube-client.ts';

/** Not of one letter each: those hash alike. */
const NAMESPACES = ['red', 'green', 'blue', 'north', 'south', 'up'];
const OBJECTS = 60;

/** Lists of cluster-scoped, namespaced and custom resources. */
export const COLLECTIONS = [
  '/api/v1/configmaps',
  '/api/v1/namespaces/red/configmaps',
  '/api/v1/namespaces',
  '/apis/coordination.k8s.io/v1/leases',
  '/apis/example.com/v1/things',
];

export interface Item {
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly uid: string };
}

export interface List {
  readonly metadata: { readonly resourceVersion: string; readonly shardInfo?: { readonly selector: string } };
  readonly items: readonly Item[] | null;
}

/** Custom resources of any content. */
export async function defineThings(admin: KubeClient): Promise<void> {
  await admin.create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
    metadata: { name: 'things.example.com' },
    spec: {
      group: 'example.com',
      scope: 'Namespaced',
      names: { plural: 'things', singular: 'thing', kind: 'Thing', listKind: 'ThingList' },
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
        },
      ],
    },
  });
}

/** Objects of several kinds, spread over namespaces. */
export async function populate(admin: KubeClient): Promise<void> {
  await defineThings(admin);
  for (const name of NAMESPACES) await admin.create('/api/v1/namespaces', { metadata: { name } });
  for (let index = 0; index < OBJECTS; index++) {
    const namespace = NAMESPACES[index % NAMESPACES.length]!;
    const metadata = { name: `o${index}`, labels: { even: String(index % 2 === 0) } };
    await admin.create(`/api/v1/namespaces/${namespace}/configmaps`, { metadata, data: { index: String(index) } });
    await admin.create(`/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`, { metadata, spec: {} });
  }
  const things = '/apis/example.com/v1/namespaces/red/things';
  await eventually({ what: 'things are served', timeoutMs: 10_000 }, async () => {
    return (await admin.request('GET', things)).status === 200;
  });
  for (let index = 0; index < 10; index++) {
    await admin.create(things, {
      apiVersion: 'example.com/v1',
      kind: 'Thing',
      metadata: { name: `t${index}` },
      spec: { index },
    });
  }
}

/** Where an object is created that a list of `collection` shows. */
function creationPath(collection: string): string {
  if (collection.includes('/namespaces')) return collection;
  return collection.replace(/[a-z]+$/, 'namespaces/red/$&');
}

let marked = 0;

/** Creates an object of a collection; returns its version. */
export async function mark(admin: KubeClient, collection: string): Promise<string> {
  const metadata = { name: `mark-${++marked}` };
  const things = collection.includes('things') ? { apiVersion: 'example.com/v1', kind: 'Thing' } : {};
  const { metadata: created } = await admin.create<List>(creationPath(collection), { ...things, metadata });
  return created.resourceVersion;
}

/** Everything that can happen to an object, in all namespaces. */
export async function churn(admin: KubeClient): Promise<void> {
  for (const [index, namespace] of NAMESPACES.entries()) {
    const path = `/api/v1/namespaces/${namespace}/configmaps`;
    await admin.create(path, { metadata: { name: 'churn' } });
    await admin.mergePatch(`${path}/churn`, { data: { now: 'changed' } });
    await admin.delete(`${path}/churn`);
    await admin.create(path, { metadata: { name: 'churn' } });
    await admin.mergePatch(`${path}/o${index}`, { metadata: { labels: { even: 'neither' } } });
    await admin.mergePatch(`${path}/o${index}`, { metadata: { labels: { even: 'true' } } });
    await admin.delete(`${path}/churn`);
  }
}
