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

/** In the layout of `object`, whose other members, of metadata too, are kept. */
export function jsonBookmark(object: Buffer): BookmarkObject {
  const { before, members, after } = splitMetadata(object);
  const plain = members.filter(({ key }) => key !== 'annotations');
  const end = { key: 'annotations', text: `"annotations":{"${END_ANNOTATION}":"true"}` };
  const annotated = members.map((member) => (member.key === 'annotations' ? end : member));
  if (plain.length === members.length) {
    if (jsonLayout(object) === 'unstructured') annotated.unshift(end);
    else annotated.push(end);
  }
  const forms = [plain, annotated].map((form) => {
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

function readMembers(reader: JsonReader): Member[] {
  const members: Member[] = [];
  reader.enterObject();
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

/** The other fields of `object`, and of its metadata, are kept. */
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
  const afterAnnotations: Buffer[] = [];
  let versioned = false;
  while (meta?.next()) {
    const bytes = object.subarray(meta.fieldStart, meta.end);
    if (meta.field === RESOURCE_VERSION) versioned = true;
    else if (meta.field < RESOURCE_VERSION) beforeVersion.push(bytes);
    else if (meta.field < ANNOTATIONS) beforeAnnotations.push(bytes);
    else if (meta.field > ANNOTATIONS) afterAnnotations.push(bytes);
  }
  if (!versioned) throw new MalformedFrame('a bookmark with a resourceVersion', 0);
  return (rv, initialEventsEnd) => {
    const version = stringField(RESOURCE_VERSION, String(rv));
    const annotations = initialEventsEnd ? [END_ENTRY] : [];
    const parts = [...beforeVersion, version, ...beforeAnnotations, ...annotations, ...afterAnnotations];
    return wrapUnknown({ kind, apiVersion }, Buffer.concat([bytesField(OBJECT_META, ...parts), ...rest]));
  };
}
