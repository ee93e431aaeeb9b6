import { JsonReader } from './json-reader.ts';
import { MalformedFrame } from './malformed-frame.ts';
import type { ScannedObject } from './object-scanner.ts';
import { parseResourceVersion, readResourceVersion, type ResourceVersion } from './resource-version.ts';

const OBJECT_KEYS = ['kind', 'apiVersion', 'metadata'].map((key) => Buffer.from(key));
const METADATA_KEYS = ['name', 'namespace', 'uid', 'resourceVersion', 'annotations'].map((key) => Buffer.from(key));
const METADATA_KEY = [Buffer.from('metadata')] as const;
const LABELS_KEY = [Buffer.from('labels')] as const;
const INITIAL_EVENTS_END = [Buffer.from('k8s.io/initial-events-end')] as const;
const NO_LABELS: ReadonlyMap<string, string> = new Map();

/** Bits of what has been found of an object. */
const KIND = 1;
const API_VERSION = 2;
const METADATA = 4;
const ALL = KIND | API_VERSION | METADATA;
/** Bits of what has been found of its metadata. */
const NAME = 1;
const NAMESPACE = 2;
const UID = 4;
const RESOURCE_VERSION = 8;
const IDENTITY = NAME | NAMESPACE | UID | RESOURCE_VERSION;

/** A ScannedObject in the making. */
class Scan implements ScannedObject {
  namespace = '';
  name = '';
  uid = '';
  resourceVersion: ResourceVersion = 0;
  kind = '';
  apiVersion = '';
  rvStart = -1;
  rvEnd = -1;
  initialEventsEnd = false;

  forgetMetadata(): void {
    this.namespace = this.name = this.uid = '';
    this.resourceVersion = 0;
    this.rvStart = this.rvEnd = -1;
    this.initialEventsEnd = false;
  }
}

/**
 * Typed JSON has kind, apiVersion and metadata first, in metadata the identity first; custom resources have their keys
 * in alphabetical order, so that name, namespace, resourceVersion and uid follow managedFields. Both end early.
 */
export function scanJsonObject(object: Buffer): ScannedObject {
  const reader = readerOf(object);
  const scan = new Scan();
  let found = 0;
  while (found !== ALL && reader.nextKey()) {
    switch (reader.keyIndex(OBJECT_KEYS)) {
      case 0:
        scan.kind = reader.readInterned();
        found |= KIND;
        break;
      case 1:
        scan.apiVersion = reader.readInterned();
        found |= API_VERSION;
        break;
      case 2:
        scanMetadata(reader, scan, found === (KIND | API_VERSION));
        found |= METADATA;
        break;
      default:
        reader.skipValue();
    }
  }
  if (scan.name !== '') scan.initialEventsEnd = false;
  return scan;
}

/** Reads the metadata at the cursor to its end or, with `mayStop`, until the identity is complete: then nothing more may be read. */
function scanMetadata(reader: JsonReader, scan: Scan, mayStop: boolean): void {
  let found = 0;
  scan.forgetMetadata();
  if (!reader.enterObject()) return;
  while (reader.nextKey()) {
    switch (reader.keyIndex(METADATA_KEYS)) {
      case 0:
        scan.name = reader.readString();
        found |= NAME;
        break;
      case 1:
        scan.namespace = reader.readInterned();
        found |= NAMESPACE;
        break;
      case 2:
        scan.uid = reader.readString();
        found |= UID;
        break;
      case 3:
        scanResourceVersion(reader, scan);
        found |= RESOURCE_VERSION;
        break;
      case 4:
        scan.initialEventsEnd = scanAnnotations(reader);
        break;
      default:
        reader.skipValue();
    }
    if (mayStop && found === IDENTITY && scan.name !== '') return;
  }
}

function scanResourceVersion(reader: JsonReader, scan: Scan): void {
  if (!reader.enterString()) return;
  const { start, end } = reader;
  const rv = readResourceVersion(reader.bytes, start, end) ?? parseResourceVersion(reader.text());
  if (rv === undefined) throw new MalformedFrame('a decimal resourceVersion below 2^53', start);
  scan.resourceVersion = rv;
  scan.rvStart = start;
  scan.rvEnd = end;
}

function scanAnnotations(reader: JsonReader): boolean {
  let initialEventsEnd = false;
  if (!reader.enterObject()) return false;
  while (reader.nextKey()) {
    if (reader.keyIndex(INITIAL_EVENTS_END) === 0) initialEventsEnd = reader.readString() === 'true';
    else reader.skipValue();
  }
  return initialEventsEnd;
}

export function jsonLabels(object: Buffer): ReadonlyMap<string, string> {
  const reader = readerOf(object);
  if (!findKey(reader, METADATA_KEY) || !reader.enterObject()) return NO_LABELS;
  if (!findKey(reader, LABELS_KEY) || !reader.enterObject()) return NO_LABELS;
  const labels = new Map<string, string>();
  while (reader.nextKey()) {
    const key = reader.internedText();
    labels.set(key, reader.readString());
  }
  return labels;
}

export function jsonField(object: Buffer, path: readonly string[]): string {
  const reader = new JsonReader(object);
  for (const key of keysOf(path)) {
    if (!reader.atObject() || !reader.enterObject() || !findKey(reader, key)) return '';
  }
  return reader.readScalar();
}

const pathKeys = new WeakMap<readonly string[], readonly (readonly [Buffer])[]>();

/** The bytes of a path's keys, made once for each path of a table. */
function keysOf(path: readonly string[]): readonly (readonly [Buffer])[] {
  let keys = pathKeys.get(path);
  if (keys === undefined) {
    keys = path.map((key) => [Buffer.from(key)] as const);
    pathKeys.set(path, keys);
  }
  return keys;
}

function readerOf(object: Buffer): JsonReader {
  const reader = new JsonReader(object);
  if (!reader.enterObject()) throw new MalformedFrame('a JSON object', 0);
  return reader;
}

/** Goes forward to the key in the object the cursor is in, and stands before its value; false past the object's end. */
function findKey(reader: JsonReader, key: readonly [Buffer]): boolean {
  while (reader.nextKey()) {
    if (reader.keyIndex(key) === 0) return true;
    reader.skipValue();
  }
  return false;
}
