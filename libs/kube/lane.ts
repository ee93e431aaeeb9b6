import { type GroupVersionResource, groupVersionPath } from './group-resource.ts';

/** How the bytes of a lane are encoded on the wire, upstream and downstream alike. */
export type Encoding = 'json' | 'protobuf';

/** Whole objects, or PartialObjectMetadata as upstream cuts it. */
export type View = 'object' | 'metadata';

/**
 * One resource as served in one encoding and view: the unit of ingest, with its own watermark.
 * Upstream's bytes are never converted, so each encoding and view in use is a lane of its own.
 */
export interface Lane extends GroupVersionResource {
  readonly encoding: Encoding;
  readonly view: View;
}

/** A string equal for equal lanes, unequal for others; fit for maps, logs and bus subjects. */
export function laneKey(lane: Lane): string {
  return `${lane.group === '' ? 'core' : lane.group}/${lane.version}/${lane.resource}/${lane.encoding}/${lane.view}`;
}

/**
 * False of Events: upstream serves them from its store, which gives their watches no bookmarks, and has words of its own
 * for what is too old or yet to come (protocol row W21).
 */
export function isCachedUpstream({ resource }: Pick<Lane, 'resource'>): boolean {
  return resource !== 'events';
}

/** Path of the whole collection upstream, over all namespaces. */
export function lanePath(lane: Lane): string {
  return `${groupVersionPath(lane)}/${lane.resource}`;
}

/** The Accept header that makes upstream answer in the lane's encoding and view. */
export function laneAccept(lane: Lane, list: boolean): string {
  const type = lane.encoding === 'json' ? 'application/json' : 'application/vnd.kubernetes.protobuf';
  if (lane.view === 'object') return type;
  return `${type};as=PartialObjectMetadata${list ? 'List' : ''};g=meta.k8s.io;v=v1`;
}
