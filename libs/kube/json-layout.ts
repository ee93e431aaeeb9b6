import { JsonReader } from './json-reader.ts';

/**
 * How kube-apiserver orders JSON keys: `typed` (built-in types, PartialObjectMetadata) kind, apiVersion, metadata and
 * on; `unstructured` (custom resources) alphabetically (protocol row L20).
 */
export type JsonLayout = 'typed' | 'unstructured';

const API_VERSION = [Buffer.from('apiVersion')];

/** The layout of an object, told from its first key. Throws MalformedFrame if it is no JSON object. */
export function jsonLayout(object: Buffer): JsonLayout {
  const reader = new JsonReader(object);
  const unstructured = reader.enterObject() && reader.nextKey() && reader.keyIndex(API_VERSION) === 0;
  return unstructured ? 'unstructured' : 'typed';
}
