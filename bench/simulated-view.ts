import { apiVersionOf } from '@dogwatch/kube/group-resource.ts';
import { type SimulatedResource, typePrefix } from './simulated-resources.ts';

/** Whole objects, or upstream's PartialObjectMetadata of them. */
export type View = 'object' | 'metadata';

const METADATA_PREFIX = '{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":';

/** An object as a watch event or a GET shows it. Metadata is cut by parsing: exact, and too slow for a fast lane. */
export function viewed(bytes: Buffer, view: View): Buffer {
  if (view === 'object') return bytes;
  const { metadata } = JSON.parse(bytes.toString('utf8')) as { metadata: object };
  return Buffer.from(`${METADATA_PREFIX}${JSON.stringify(metadata)}}`);
}

/** An object as a LIST shows it: typed lists leave out `kind` and `apiVersion` (protocol L19), metadata lists do not. */
export function listItem(bytes: Buffer, resource: SimulatedResource, view: View): Buffer {
  if (view === 'metadata') return viewed(bytes, view);
  const item = Buffer.from(bytes.subarray(typePrefix(resource).length));
  item[0] = 0x7b;
  return item;
}

/** Everything of a LIST before its first item (protocol L20). */
export function listHead(resource: SimulatedResource, view: View, metadata: object): string {
  const type =
    view === 'metadata'
      ? '"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1"'
      : `"kind":"${resource.kind}List","apiVersion":"${apiVersionOf(resource)}"`;
  return `{${type},"metadata":${JSON.stringify(metadata)},"items":[`;
}

/** A bookmark's line (protocol W14); `end` marks the end of the initial events. */
export function bookmarkFrame(options: {
  resource: SimulatedResource;
  view: View;
  version: number;
  end: boolean;
}): Buffer {
  const { resource, view, version, end } = options;
  const metadata = `{"resourceVersion":"${version}"${end ? ',"annotations":{"k8s.io/initial-events-end":"true"}' : ''}}`;
  const object =
    view === 'metadata'
      ? `${METADATA_PREFIX}${metadata}}`
      : `{${typePrefix(resource)}"metadata":${metadata}${resource.emptyTail}}`;
  return Buffer.from(`{"type":"BOOKMARK","object":${object}}\n`);
}
