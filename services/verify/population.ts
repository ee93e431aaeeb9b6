import { requestJson } from '@dogwatch/upstream/request-json.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { isWatchable, pathOf, type ServedResource } from './resources.ts';
import { VerifyError } from './verify-error.ts';

/** Objects looked at of each resource; of the rest only that they are there. */
const SAMPLE_SIZE = 40;
const LISTS_AT_ONCE = 8;
const COMPRESSED_BYTES = 128 * 1024;

/** What requests need to know of an object that exists. */
export interface SampledObject {
  readonly namespace: string;
  readonly name: string;
  readonly resourceVersion: string;
  readonly labels: readonly (readonly [key: string, value: string])[];
  /** Values of the resource's field labels; "" where the object has none. */
  readonly fields: readonly (readonly [label: string, value: string])[];
}

export interface SampledResource {
  /** Of the JSON of those that were sampled. */
  readonly bytes: number;
  readonly resource: ServedResource;
  readonly objects: readonly SampledObject[];
}

/** What the requests are made from: the cluster as it was at the start. */
export interface Population {
  /** Those that can be listed and watched. */
  readonly watchable: readonly SampledResource[];
  /** Those of which there are objects. */
  readonly populated: readonly SampledResource[];
  /** Those with more field labels than all have; if there are none, those of which there are objects. */
  readonly selectable: readonly SampledResource[];
  /** Those whose lists are so long that they are compressed (row N5); else those of which there are objects. */
  readonly large: readonly SampledResource[];
  readonly others: readonly ServedResource[];
  readonly namespaces: readonly string[];
}

interface Listed {
  readonly items?: readonly {
    readonly metadata: {
      readonly name: string;
      readonly namespace?: string;
      readonly resourceVersion: string;
      readonly labels?: Readonly<Record<string, string>>;
    };
  }[];
}

/** Samples every resource. Rejects with VerifyError where the user may read none. */
export async function samplePopulation(
  upstream: Upstream,
  resources: readonly ServedResource[],
  signal: AbortSignal,
): Promise<Population> {
  const watchable: SampledResource[] = [];
  const wanted = resources.filter(isWatchable);
  for (let at = 0; at < wanted.length; at += LISTS_AT_ONCE) {
    const some = wanted.slice(at, at + LISTS_AT_ONCE);
    watchable.push(...(await Promise.all(some.map((resource) => sample(upstream, resource, signal)))));
  }
  const populated = watchable.filter(({ objects }) => objects.length > 0);
  if (populated.length === 0) {
    throw new VerifyError(
      'cannot_read',
      `found nothing to compare at ${upstream.server.host}: give the kubeconfig's user the right to list and watch`,
    );
  }
  const namespaces = populated.find(({ resource }) => resource.group === '' && resource.resource === 'namespaces');
  const selectable = populated.filter(({ resource }) => resource.fields.size > (resource.namespaced ? 2 : 1));
  const large = populated.filter(({ bytes }) => bytes > COMPRESSED_BYTES);
  return {
    watchable,
    populated,
    large: large.length > 0 ? large : populated,
    selectable: selectable.length > 0 ? selectable : populated,
    others: resources.filter((resource) => !isWatchable(resource)),
    namespaces: namespaces?.objects.map(({ name }) => name) ?? ['default'],
  };
}

/** Whether upstream honours shardSelector (KEP-5866); what it does not know, it ignores. */
export async function honoursShards(upstream: Upstream, signal: AbortSignal): Promise<boolean> {
  const selector = encodeURIComponent("shardRange(object.metadata.uid, '0x0000000000000000', '0x8000000000000000')");
  const { body } = await requestJson(upstream, { path: `/api/v1/namespaces?shardSelector=${selector}`, signal });
  return (body as { metadata?: { shardInfo?: unknown } }).metadata?.shardInfo !== undefined;
}

async function sample(upstream: Upstream, resource: ServedResource, signal: AbortSignal): Promise<SampledResource> {
  const { status, body } = await requestJson(upstream, { path: `${pathOf(resource)}?limit=${SAMPLE_SIZE}`, signal });
  const items = status === 200 ? ((body as Listed).items ?? []) : [];
  return {
    resource,
    bytes: JSON.stringify(items).length,
    objects: items.map((item) => ({
      namespace: item.metadata.namespace ?? '',
      name: item.metadata.name,
      resourceVersion: item.metadata.resourceVersion,
      labels: Object.entries(item.metadata.labels ?? {}),
      fields: [...resource.fields].map(([label, path]) => [label, valueAt(item, path)] as const),
    })),
  };
}

/** As a field selector compares it: "" for what is not there, is an object or a list. */
function valueAt(object: unknown, path: readonly string[]): string {
  let value = object;
  for (const key of path) value = (value as Readonly<Record<string, unknown>> | undefined | null)?.[key];
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
}
