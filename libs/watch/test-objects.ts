import { type KubeObject, type ObjectSchema, kubeObject } from '@dogwatch/kube/kube-object.ts';
import { frameEvent } from '@dogwatch/kube/event-framer.ts';
import { selectableFields } from '@dogwatch/kube/selectable-fields.ts';
import { parseShardSelector } from '@dogwatch/kube/shard-selector.ts';
import { parseFieldSelector, parseLabelSelector } from '@dogwatch/kube/selector.ts';
import type { ChangeType } from './event-window.ts';
import { Interest } from './interest.ts';
import type { Change } from './watch-cache.ts';

const PODS = { group: '', version: 'v1', resource: 'pods' };

/** Pods in JSON: the richest of the lanes, with labels, fields and an index. */
export const podSchema: ObjectSchema = {
  encoding: 'json',
  fields: selectableFields(PODS, true),
  indexedField: 'spec.nodeName',
};

export interface PodParts {
  namespace?: string;
  labels?: Record<string, string>;
  node?: string;
  uid?: string;
}

/** A pod as kube-apiserver writes it in a watch event. */
export function pod(name: string, rv: number, parts: PodParts = {}): KubeObject {
  const { namespace = 'default', labels, node = '', uid = `uid-${name}` } = parts;
  const metadata = { name, namespace, uid, resourceVersion: String(rv), ...(labels === undefined ? {} : { labels }) };
  const spec = { containers: [], ...(node === '' ? {} : { nodeName: node }) };
  return kubeObject(podSchema, Buffer.from(JSON.stringify({ kind: 'Pod', apiVersion: 'v1', metadata, spec })));
}

export function change(type: ChangeType, object: KubeObject): Change {
  return { type, object, frame: frameEvent('json', type, object.bytes) };
}

export function interest(
  parts: { namespace?: string; name?: string; labels?: string; fields?: string; shards?: string } = {},
): Interest {
  const { namespace = '', name = '', labels = '', fields = '', shards } = parts;
  return new Interest({
    namespace,
    name,
    labels: parseLabelSelector(labels),
    fields: parseFieldSelector(fields),
    ...(shards === undefined ? {} : { shards: parseShardSelector(shards) }),
  });
}

/** `TYPE name@rv` of each frame in `bytes`, bookmarks as `BOOKMARK @rv`. */
export function eventsIn(bytes: Buffer): string[] {
  return bytes
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const { type, object } = JSON.parse(line) as {
        type: string;
        object: { metadata: { name?: string; resourceVersion: string } };
      };
      return `${type} ${object.metadata.name ?? ''}@${object.metadata.resourceVersion}`;
    });
}
