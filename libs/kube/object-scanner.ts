import type { FieldPath } from './field-path.ts';
import { jsonField, jsonLabels, scanJsonObject } from './json-object.ts';
import type { Encoding } from './lane.ts';
import { protobufField, protobufLabels, scanProtobufObject } from './protobuf-object.ts';
import type { ResourceVersion } from './resource-version.ts';

/** What a watch cache needs of an object, found in its bytes without decoding it. Absent strings are "". */
export interface ScannedObject {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** 0 if the object has none. */
  readonly resourceVersion: ResourceVersion;
  readonly kind: string;
  readonly apiVersion: string;
  /** Where the digits of the resourceVersion stand in the object's bytes; both -1 if it has none. */
  readonly rvStart: number;
  readonly rvEnd: number;
  /** A bookmark (an object without a name) annotated `k8s.io/initial-events-end: "true"` (protocol row W4). */
  readonly initialEventsEnd: boolean;
}

/**
 * Scans an object as it stands in a watch event or a LIST item. Throws MalformedFrame. The scan of JSON ends as soon as
 * everything is found; of a repeated key the last value up to there counts (kube-apiserver never repeats one).
 */
export function scanObject(encoding: Encoding, object: Buffer): ScannedObject {
  return encoding === 'json' ? scanJsonObject(object) : scanProtobufObject(object);
}

/** The object's labels. Throws MalformedFrame. */
export function scanLabels(encoding: Encoding, object: Buffer): ReadonlyMap<string, string> {
  return encoding === 'json' ? jsonLabels(object) : protobufLabels(object);
}

/**
 * The value at `path`, printed as Kubernetes does (true, -3); "" if it is absent or null. Throws MalformedFrame.
 */
export function scanField(encoding: Encoding, object: Buffer, path: FieldPath): string {
  return encoding === 'json' ? jsonField(object, path.json) : protobufField(object, path.protobuf);
}
