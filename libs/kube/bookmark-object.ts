import { jsonLayout } from './json-layout.ts';
import { JsonReader } from './json-reader.ts';
import { MalformedFrame } from './malformed-frame.ts';
import { bytesField, FieldReader, stringField, varintField } from './proto-wire.ts';
import type { ResourceVersion } from './resource-version.ts';
import { openUnknown, wrapUnknown } from './runtime-unknown.ts';

/** The object of a bookmark at `rv`, with or without the annotation that ends the initial events (protocol row W14). */
export type BookmarkObject = (rv: ResourceVersion, initialEventsEnd: boolean) => Buffer;

const END_ANNOTATION = 'k8s.io/initial-events-end';
const METADATA = [Buffer.from('metadata')];

/** One `"key":value` of an object, as latin1 text: a character for each byte, so that bytes are kept as they are. */
interface Member {
  readonly key: string;
  readonly text: string;
}

const END_MEMBER: Member = { key: END_ANNOTATION, text: `"${END_ANNOTATION}":"true"` };

/** In the layout of `object`, whose other members, of metadata and its annotations too, are kept. */
export function jsonBookmark(object: Buffer): BookmarkObject {
  const { before, members, after } = splitMetadata(object);
  const own = members.find(({ key }) => key === 'annotations');
  const first = jsonLayout(object) === 'unstructured';
  const forms = [false, true].map((end) => {
    const annotations = annotationsMember(own, end);
    const form = members.flatMap((member) => (member === own ? annotations : [member]));
    if (own === undefined) form.splice(first ? 0 : form.length, 0, ...annotations);
    const at = form.findIndex(({ key }) => key === 'resourceVersion');
    if (at === -1) throw new MalformedFrame('a bookmark with a resourceVersion', 0);
    const head = form.slice(0, at).map(({ text }) => `${text},`);
    const tail = form.slice(at + 1).map(({ text }) => `,${text}`);
    return { head: `${before}{${head.join('')}"resourceVersion":"`, tail: `"${tail.join('')}}${after}` };
  });
  return (rv, initialEventsEnd) => {
    const { head, tail } = forms[initialEventsEnd ? 1 : 0]!;
    return Buffer.from(`${head}${rv}${tail}`, 'latin1');
  };
}

/** What a type of its own writes (that of DaemonSets does) stands in the one and the other; none are no member. */
function annotationsMember(own: Member | undefined, end: boolean): Member[] {
  const kept = own === undefined ? [] : annotationsIn(own).filter(({ key }) => key !== END_ANNOTATION);
  const all = end ? [...kept, END_MEMBER] : kept;
  if (all.length === 0) return [];
  // In the order of their keys, as Go writes a map.
  const texts = all.toSorted((a, b) => (a.key < b.key ? -1 : 1)).map(({ text }) => text);
  return [{ key: 'annotations', text: `"annotations":{${texts.join(',')}}` }];
}

function annotationsIn({ text }: Member): Member[] {
  const reader = new JsonReader(Buffer.from(`{${text}}`, 'latin1'));
  reader.enterObject();
  reader.nextKey();
  return readMembers(reader);
}

/** The members of the object's metadata, and what stands before and after it. */
function splitMetadata(object: Buffer): { before: string; members: readonly Member[]; after: string } {
  const reader = new JsonReader(object);
  const found = reader.enterObject();
  while (found && reader.nextKey()) {
    if (reader.keyIndex(METADATA) === -1) {
      reader.skipValue();
      continue;
    }
    if (!reader.atObject()) break;
    const start = reader.at;
    const members = readMembers(reader);
    return { before: object.toString('latin1', 0, start), members, after: object.toString('latin1', reader.at) };
  }
  throw new MalformedFrame('a bookmark with metadata', reader.at);
}

/** Of the object at the cursor; none of a null. */
function readMembers(reader: JsonReader): Member[] {
  const members: Member[] = [];
  if (!reader.enterObject()) return members;
  while (reader.nextKey()) {
    const key = reader.text();
    const { start } = reader;
    reader.skipValue();
    members.push({ key, text: reader.bytes.toString('latin1', start - 1, reader.at) });
  }
  return members;
}

/** Field numbers of metav1.ObjectMeta, and where it stands in every object. */
const OBJECT_META = 1;
const RESOURCE_VERSION = 6;
const ANNOTATIONS = 12;
/** As the entry of a map: key and value. */
const END_ENTRY = bytesField(ANNOTATIONS, stringField(1, END_ANNOTATION), stringField(2, 'true'));

/** An object that is nothing but an empty ObjectMeta, with the fields kube-apiserver writes though they are empty. */
export const EMPTY_OBJECT = bytesField(
  OBJECT_META,
  ...[1, 2, 3, 4, 5, RESOURCE_VERSION].map((field) => stringField(field, '')),
  varintField(7, 0),
  bytesField(8),
);

/** The other fields of `object`, of its metadata and the other annotations are kept. */
export function protobufBookmark(object: Buffer): BookmarkObject {
  const { kind, apiVersion, rawStart, rawEnd } = openUnknown(object);
  const rest: Buffer[] = [];
  let meta: FieldReader | undefined;
  const fields = new FieldReader(object, rawStart, rawEnd);
  while (fields.next()) {
    if (fields.field === OBJECT_META) meta = fields.message();
    else rest.push(object.subarray(fields.fieldStart, fields.end));
  }
  const beforeVersion: Buffer[] = [];
  const beforeAnnotations: Buffer[] = [];
  const annotations: { readonly key: string; readonly bytes: Buffer }[] = [];
  const afterAnnotations: Buffer[] = [];
  let versioned = false;
  while (meta?.next()) {
    const bytes = object.subarray(meta.fieldStart, meta.end);
    if (meta.field === RESOURCE_VERSION) versioned = true;
    else if (meta.field < RESOURCE_VERSION) beforeVersion.push(bytes);
    else if (meta.field < ANNOTATIONS) beforeAnnotations.push(bytes);
    else if (meta.field > ANNOTATIONS) afterAnnotations.push(bytes);
    else annotations.push({ key: keyOf(meta.message()), bytes });
  }
  if (!versioned) throw new MalformedFrame('a bookmark with a resourceVersion', 0);
  const others = annotations.filter(({ key }) => key !== END_ANNOTATION);
  // In the order of their keys, as Go writes a map.
  const ended = [...others, { key: END_ANNOTATION, bytes: END_ENTRY }].toSorted((a, b) => (a.key < b.key ? -1 : 1));
  const [plain, annotated] = [others, ended].map((entries) => entries.map(({ bytes }) => bytes)) as [
    Buffer[],
    Buffer[],
  ];
  return (rv, initialEventsEnd) => {
    const version = stringField(RESOURCE_VERSION, String(rv));
    const before = [...beforeVersion, version, ...beforeAnnotations];
    const parts = [...before, ...(initialEventsEnd ? annotated : plain), ...afterAnnotations];
    return wrapUnknown({ kind, apiVersion }, Buffer.concat([bytesField(OBJECT_META, ...parts), ...rest]));
  };
}

/** Of the entry of a map. */
function keyOf(entry: FieldReader): string {
  while (entry.next()) if (entry.field === 1) return entry.text();
  return '';
}
