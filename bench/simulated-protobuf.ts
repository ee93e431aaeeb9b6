import { bytesField, stringField, varintField } from '@dogwatch/kube/proto-wire.ts';
import { wrapUnknown } from '@dogwatch/kube/runtime-unknown.ts';

/** How one JSON field of a message is written; the forms are those of Kubernetes' own generated code. */
export type FieldType =
  | { readonly kind: 'text' | 'int' | 'bool' | 'time' | 'quantity' | 'raw' }
  | { readonly kind: 'message' | 'inline'; readonly schema: MessageSchema }
  | { readonly kind: 'list' | 'map'; readonly of: FieldType };

/** A field by its number. Without `optional` it is written though it is empty, as Go's fields that are no pointers are. */
export interface Field {
  readonly number: number;
  readonly type: FieldType;
  readonly optional?: true;
}

/** Fields by their JSON name, in ascending numbers: the order they are written in. */
export type MessageSchema = Readonly<Record<string, Field>>;

type JsonObject = Readonly<Record<string, unknown>>;

/** The protobuf of an object with its `k8s\0` envelope, from its JSON. Throws TypeError for a field the schema lacks. */
export function encodeProtobuf(schema: MessageSchema, json: JsonObject): Buffer {
  const { kind, apiVersion, ...object } = json;
  return wrapUnknown({ kind: String(kind), apiVersion: String(apiVersion) }, encodeMessage(schema, object));
}

function encodeMessage(schema: MessageSchema, object: JsonObject): Buffer {
  const parts: Buffer[] = [];
  for (const key of Object.keys(object)) {
    if (schema[key] === undefined && !isInlined(schema, key))
      throw new TypeError(`the simulated upstream knows no protobuf field for "${key}": add it to the schema`);
  }
  for (const [key, { number, type, optional }] of Object.entries(schema)) {
    if (type.kind === 'inline') {
      const inner = Object.fromEntries(Object.entries(object).filter(([name]) => type.schema[name] !== undefined));
      parts.push(bytesField(number, encodeMessage(type.schema, inner)));
      continue;
    }
    const value = object[key] ?? undefined;
    if (value !== undefined) parts.push(...encodeField(number, type, value));
    else if (optional !== true) parts.push(...emptyField(number, type));
  }
  return Buffer.concat(parts);
}

function isInlined(schema: MessageSchema, key: string): boolean {
  return Object.values(schema).some(({ type }) => type.kind === 'inline' && type.schema[key] !== undefined);
}

function emptyField(number: number, type: FieldType): Buffer[] {
  switch (type.kind) {
    case 'text':
      return [stringField(number, '')];
    case 'int':
    case 'bool':
      return [varintField(number, 0)];
    case 'message':
      return [bytesField(number, encodeMessage(type.schema, {}))];
    case 'time':
      return [bytesField(number)];
    default:
      return [];
  }
}

function encodeField(number: number, type: FieldType, value: unknown): Buffer[] {
  switch (type.kind) {
    case 'text':
      return [stringField(number, String(value))];
    case 'int':
    case 'bool':
      return [varintField(number, Number(value))];
    case 'time':
      return [bytesField(number, timestamp(String(value)))];
    case 'quantity':
      return [bytesField(number, stringField(1, String(value)))];
    case 'raw':
      return [bytesField(number, stringField(1, JSON.stringify(value)))];
    case 'message':
    case 'inline':
      return [bytesField(number, encodeMessage(type.schema, value as JsonObject))];
    case 'list':
      return (value as readonly unknown[]).flatMap((item) => encodeField(number, type.of, item));
    case 'map':
      return Object.entries(value as JsonObject)
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, item]) => bytesField(number, stringField(1, key), ...encodeField(2, type.of, item)));
  }
}

/** Time and MicroTime: seconds since 1970 and nanoseconds. */
function timestamp(text: string): Buffer {
  const micros = Number((/\.(\d{1,6})/.exec(text)?.[1] ?? '0').padEnd(6, '0'));
  const seconds = Math.floor(Date.parse(text) / 1000);
  return Buffer.concat([varintField(1, seconds), varintField(2, micros * 1000)]);
}
