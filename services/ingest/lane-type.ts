import { apiVersionOf } from '@dogwatch/kube/group-resource.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { customSelectableFields, indexedField, selectableFields } from '@dogwatch/kube/selectable-fields.ts';
import type { ResourceInfo } from '@dogwatch/upstream/discovery.ts';
import type { LaneFacts } from '@dogwatch/watch/lane-view.ts';
import type { Definition } from './definition.ts';

/** What is known of a lane's objects before the first is read. */
export type LaneType = Omit<LaneFacts, 'bookmark' | 'warnings'>;

/**
 * Kind, list kind and selectable fields, from the table of built-ins or from the CustomResourceDefinition (KEP-4358).
 * Without `definition`, of a custom resource only metadata is selectable: other requests go upstream.
 */
export function laneType(lane: Lane, info: ResourceInfo, definition: Definition | undefined): LaneType {
  const { encoding } = lane;
  const { kind, namespaced } = definition ?? info;
  const fields = info.custom
    ? customSelectableFields(definition?.selectable ?? [], namespaced)
    : selectableFields(lane, namespaced);
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
  return {
    schema: { encoding, fields, indexedField: indexedField(lane) },
    kind,
    apiVersion: apiVersionOf(lane),
    listKind: definition?.listKind ?? `${kind}List`,
    layout: info.custom ? 'unstructured' : 'typed',
  };
}
