import { apiVersionOf } from '@dogwatch/kube/group-resource.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { customSelectableFields, indexedField, selectableFields } from '@dogwatch/kube/selectable-fields.ts';
import type { ResourceInfo } from '@dogwatch/upstream/discovery.ts';
import { requestJson } from '@dogwatch/upstream/request-json.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import type { LaneFacts } from '@dogwatch/watch/lane-view.ts';

/** What is known of a lane's objects before the first is read. */
export type LaneType = Omit<LaneFacts, 'bookmark' | 'warnings'>;

const TIMEOUT_MS = 10_000;

interface CustomResourceDefinition {
  spec: {
    names: { listKind: string };
    versions: { name: string; selectableFields?: { jsonPath: string }[] }[];
  };
}

/** Kind, list kind and selectable fields, from the table of built-ins or from the CRD (KEP-4358). */
export async function laneType(
  upstream: Upstream,
  lane: Lane,
  info: ResourceInfo,
  signal: AbortSignal,
): Promise<LaneType> {
  const { encoding } = lane;
  const fields = selectableFields(lane, info.namespaced);
  if (lane.view === 'metadata') {
    // PartialObjectMetadata has no other fields than those of its metadata.
    const own = new Map([...fields].filter(([label]) => label.startsWith('metadata.')));
    return {
      schema: { encoding, fields: own, indexedField: undefined },
      kind: 'PartialObjectMetadata',
      apiVersion: 'meta.k8s.io/v1',
      listKind: 'PartialObjectMetadataList',
      layout: 'typed',
    };
  }
  const type = { kind: info.kind, apiVersion: apiVersionOf(lane), listKind: `${info.kind}List` };
  if (!info.custom) {
    return { ...type, schema: { encoding, fields, indexedField: indexedField(lane) }, layout: 'typed' };
  }
  const definition = await readDefinition(upstream, lane, signal);
  const version = definition?.spec.versions.find(({ name }) => name === lane.version);
  const paths = (version?.selectableFields ?? []).map(({ jsonPath }) => jsonPath);
  return {
    ...type,
    listKind: definition?.spec.names.listKind ?? type.listKind,
    schema: { encoding, fields: customSelectableFields(paths, info.namespaced), indexedField: undefined },
    layout: 'unstructured',
  };
}

/** Undefined without the right to read CRDs: requests with other field labels than metadata's then go upstream. */
async function readDefinition(
  upstream: Upstream,
  lane: Lane,
  signal: AbortSignal,
): Promise<CustomResourceDefinition | undefined> {
  const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${lane.resource}.${lane.group}`;
  const { status, body } = await requestJson(upstream, { path, signal, timeoutMs: TIMEOUT_MS });
  return status === 200 ? (body as CustomResourceDefinition) : undefined;
}
