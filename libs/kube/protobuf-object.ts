import type { FieldStep } from './field-path.ts';
import { MalformedFrame } from './malformed-frame.ts';
import type { ScannedObject } from './object-scanner.ts';
import { FieldReader } from './proto-wire.ts';
import { readResourceVersion, type ResourceVersion } from './resource-version.ts';
import { openUnknown } from './runtime-unknown.ts';

/** Field numbers of metav1.ObjectMeta, and where it stands in every object. */
const OBJECT_META = 1;
const NAME = 1;
const NAMESPACE = 3;
const UID = 5;
const RESOURCE_VERSION = 6;
const LABELS = 11;
const ANNOTATIONS = 12;
/** Field numbers of a map's entry. */
const KEY = 1;
const VALUE = 2;

const INITIAL_EVENTS_END = 'k8s.io/initial-events-end';
const NO_LABELS: ReadonlyMap<string, string> = new Map();

/** A ScannedObject in the making. */
class Scan implements ScannedObject {
  namespace = '';
  name = '';
  uid = '';
  resourceVersion: ResourceVersion = 0;
  readonly kind: string;
  readonly apiVersion: string;
  rvStart = -1;
  rvEnd = -1;
  initialEventsEnd = false;

  constructor(kind: string, apiVersion: string) {
    this.kind = kind;
    this.apiVersion = apiVersion;
  }
}

export function scanProtobufObject(object: Buffer): ScannedObject {
  const { kind, apiVersion, rawStart, rawEnd } = openUnknown(object);
  const scan = new Scan(kind, apiVersion);
  const fields = new FieldReader(object, rawStart, rawEnd);
  while (fields.next()) if (fields.field === OBJECT_META) scanObjectMeta(fields.message(), scan);
  if (scan.name !== '') scan.initialEventsEnd = false;
  return scan;
}

function scanObjectMeta(meta: FieldReader, scan: Scan): void {
  while (meta.next()) {
    switch (meta.field) {
      case NAME:
        scan.name = meta.text();
        break;
      case NAMESPACE:
        scan.namespace = meta.internedText();
        break;
      case UID:
        scan.uid = meta.text();
        break;
      case RESOURCE_VERSION:
        scanResourceVersion(meta, scan);
        break;
      case ANNOTATIONS: {
        if (scan.name !== '') break;
        const [key, value] = readEntry(meta.message());
        if (key === INITIAL_EVENTS_END) scan.initialEventsEnd = value === 'true';
        break;
      }
    }
  }
}

function scanResourceVersion(meta: FieldReader, scan: Scan): void {
  meta.expectBytes();
  const rv = readResourceVersion(meta.bytes, meta.start, meta.end);
  if (rv === undefined) throw new MalformedFrame('a decimal resourceVersion below 2^53', meta.start);
  scan.resourceVersion = rv;
  scan.rvStart = meta.start;
  scan.rvEnd = meta.end;
}

function readEntry(entry: FieldReader): [key: string, value: string] {
  let key = '';
  let value = '';
  while (entry.next()) {
    if (entry.field === KEY) key = entry.internedText();
    else if (entry.field === VALUE) value = entry.text();
  }
  return [key, value];
}

export function protobufLabels(object: Buffer): ReadonlyMap<string, string> {
  const { rawStart, rawEnd } = openUnknown(object);
  let labels: Map<string, string> | undefined;
  const fields = new FieldReader(object, rawStart, rawEnd);
  while (fields.next()) {
    if (fields.field !== OBJECT_META) continue;
    const meta = fields.message();
    while (meta.next()) {
      if (meta.field !== LABELS) continue;
      const [key, value] = readEntry(meta.message());
      labels = (labels ?? new Map<string, string>()).set(key, value);
    }
  }
  return labels ?? NO_LABELS;
}

export function protobufField(object: Buffer, path: readonly FieldStep[]): string {
  const { rawStart, rawEnd } = openUnknown(object);
  let message = new FieldReader(object, rawStart, rawEnd);
  for (const step of path) {
    let found: FieldReader | undefined;
    let text = '';
    while (message.next()) {
      if (message.field !== step.field) continue;
      if (step.type === 'message') found = message.message();
      else text = scalarText(message, step.type);
    }
    if (found === undefined) return text;
    message = found;
  }
  return '';
}

function scalarText(field: FieldReader, type: 'string' | 'bool' | 'int'): string {
  switch (type) {
    case 'string':
      return field.text();
    case 'bool':
      return String(field.int() !== 0n);
    case 'int':
      return String(field.int());
  }
}
