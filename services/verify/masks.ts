import { decodeStatus } from '@dogwatch/kube/status-decoding.ts';
import { scanObject } from '@dogwatch/kube/object-scanner.ts';
import { FieldReader } from '@dogwatch/kube/proto-wire.ts';
import { openUnknown, startsWithMagic } from '@dogwatch/kube/runtime-unknown.ts';
import type { Encoding } from '@dogwatch/kube/lane.ts';
import type { WantedId } from './wanted.ts';

/** Bytes in which what may differ stands as a placeholder, and what that was. */
export interface Masked {
  readonly bytes: Buffer;
  readonly ids: readonly WantedId[];
}

/** Versions that may stand where a mask is. */
export interface VersionRange {
  readonly from: number;
  readonly to: number;
}

const within = (version: string, { from, to }: VersionRange): boolean =>
  /^\d+$/.test(version) && Number(version) >= from && Number(version) <= to;

/**
 * The metadata of a list, of a Table too, with its version masked where it is within the range (undefined: nowhere), and
 * its continue token in one form; undefined: no list, or nothing to mask.
 */
export function maskList(body: Buffer, range: VersionRange | undefined): Masked | undefined {
  const ids = new Set<WantedId>();
  if (startsWithMagic(body, 0)) return maskProtobufList(body, range, ids);
  const text = body.toString('latin1');
  const span = listMetaSpan(text);
  if (span === undefined) return undefined;
  const version = /resourceVersion"?:\s*"(\d+)"/.exec(text.slice(...span))?.[1] ?? '';
  const masked = maskVersion(version, range, ids);
  const metadata = text
    .slice(...span)
    .replace(/(resourceVersion"?:\s*)"\d+"/, `$1"${masked}"`)
    .replace(
      /(continue"?:\s*"?)([\w-]{8,})/,
      (_, key: string, token: string) => key + maskToken(token, { version, masked, ids }),
    );
  if (ids.size === 0) return undefined;
  return { bytes: Buffer.from(text.slice(0, span[0]) + metadata + text.slice(span[1]), 'latin1'), ids: [...ids] };
}

function maskVersion(version: string, range: VersionRange | undefined, ids: Set<WantedId>): string {
  if (range === undefined || !within(version, range)) return version;
  ids.add('list version');
  return 'VERSION';
}

/** Where the metadata of a list stands: typed lists begin with it, others end with it (row L20). */
function listMetaSpan(text: string): [number, number] | undefined {
  const typed = /^\{\s*"kind":\s*"(?:\w*List|Table)"/.test(text);
  const sorted = /^\{\s*"apiVersion":/.test(text) && /"kind":\s*"\w*List",\s*"metadata":/.test(text.slice(-2_000));
  const yaml = /^kind: \w*List$/m.test(text) && text.startsWith('apiVersion:');
  if (yaml) {
    const start = text.lastIndexOf('\nmetadata:');
    return start === -1 ? undefined : [start, text.length];
  }
  if (!typed && !sorted) return undefined;
  const start = typed ? text.indexOf('"metadata":') : text.lastIndexOf('"metadata":');
  return start === -1 ? undefined : [start, endOfObject(text, start)];
}

function endOfObject(text: string, start: number): number {
  const end = text.indexOf('}', start);
  // shardInfo is the only object in it.
  return text.slice(start, end).includes('"shardInfo"') ? text.indexOf('}', end + 1) : end;
}

/** Row L13: the version is that of the list, and the key may begin with a slash or not. */
function maskToken(
  token: string,
  { version, masked, ids }: { readonly version: string; readonly masked: string; readonly ids: Set<WantedId> },
): string {
  try {
    const parts = JSON.parse(Buffer.from(token, 'base64url').toString()) as { rv?: number; start?: string };
    const { rv, start = '' } = parts;
    ids.add('token form');
    return JSON.stringify({ ...parts, rv: String(rv) === version ? masked : rv, start: start.replace(/^\//, '') });
  } catch (error) {
    if (error instanceof SyntaxError) return token;
    throw error;
  }
}

function maskProtobufList(body: Buffer, range: VersionRange | undefined, ids: Set<WantedId>): Masked | undefined {
  const { kind, apiVersion, rawStart, rawEnd } = openUnknown(body);
  if (!kind.endsWith('List')) return undefined;
  const fields = new FieldReader(body, rawStart, rawEnd);
  if (!fields.next() || fields.field !== 1) return undefined;
  const meta = fields.message();
  const parts: [number, string][] = [];
  while (meta.next()) parts.push([meta.field, meta.field === 4 ? String(meta.int()) : meta.text()]);
  const version = parts.find(([field]) => field === 2)?.[1] ?? '';
  const masked = maskVersion(version, range, ids);
  const shown = parts.map(([field, value]) => {
    if (field === 2) return [field, masked];
    return [field, field === 3 && value !== '' ? maskToken(value, { version, masked, ids }) : value];
  });
  if (ids.size === 0) return undefined;
  const head = Buffer.from(JSON.stringify({ kind, apiVersion, shown }));
  return { bytes: Buffer.concat([head, body.subarray(fields.end)]), ids: [...ids] };
}

/** The object of a bookmark without its version. Throws MalformedFrame. */
export function maskBookmark(encoding: Encoding, object: Buffer, range: VersionRange): Buffer {
  if (encoding === 'json' && object.includes('"kind":"Table"')) return maskTableBookmark(object, range);
  const { rvStart, rvEnd } = scanObject(encoding, object);
  if (rvStart === -1 || !within(object.toString('latin1', rvStart, rvEnd), range)) return object;
  const rest = Buffer.concat([object.subarray(0, rvStart), Buffer.from('VERSION'), object.subarray(rvEnd)]);
  if (encoding === 'json') return rest;
  // The lengths of all that the version is in depend on its own: they are left out, and what they stand before is not.
  const { kind, apiVersion, rawStart, rawEnd } = openUnknown(object);
  const parts: Buffer[] = [Buffer.from(`${apiVersion} ${kind}`)];
  const fields = new FieldReader(object, rawStart, rawEnd);
  while (fields.next()) {
    if (fields.field !== 1) {
      parts.push(object.subarray(fields.fieldStart, fields.end));
      continue;
    }
    const meta = fields.message();
    while (meta.next()) if (meta.start !== rvStart) parts.push(object.subarray(meta.fieldStart, meta.end));
  }
  return Buffer.concat([...parts, object.subarray(rawEnd)]);
}

/** The version of a Table and that of its only row. */
function maskTableBookmark(object: Buffer, range: VersionRange): Buffer {
  const table = maskTableEvent(object)?.bytes ?? object;
  const masked = table
    .toString('latin1')
    .replaceAll(/("resourceVersion":)"(\d+)"/g, (whole, key: string, version: string) =>
      within(version, range) ? `${key}"VERSION"` : whole,
    );
  return Buffer.from(masked, 'latin1');
}

/** A Status with the numbers masked that each server has of its own; undefined: no Status. */
export function maskStatus(encoding: Encoding, body: Buffer): Masked | undefined {
  if (!body.includes('Status')) return undefined;
  const text =
    encoding === 'protobuf' && startsWithMagic(body, 0)
      ? JSON.stringify(decodeStatus('protobuf', body))
      : body.toString('latin1');
  const ids: WantedId[] = [];
  let masked = text.replaceAll(/(Too large resource version: \d+, current: )\d+/g, (_, kept: string) => {
    ids.push('current version in text');
    return `${kept}VERSION`;
  });
  if (ids.length > 0) {
    masked = masked.replaceAll(/(retryAfterSeconds"?:\s*)[1-3]\b/g, (_, kept: string) => {
      ids.push('when to come again');
      return `${kept}SECONDS`;
    });
  }
  masked = masked.replaceAll(/(too old resource version: \d+ \()\d+/g, (_, kept: string) => {
    ids.push('oldest version in text');
    return `${kept}VERSION`;
  });
  return ids.length === 0 ? undefined : { bytes: Buffer.from(masked, 'latin1'), ids };
}

const SPAN = String.raw`(?:(?:\d+[ydhms])+(?: \([^"\n]*\))?|<unknown>|<invalid>)`;
const AGE = new RegExp(`"${SPAN}"`, 'g');
const AGE_IN_YAML = new RegExp(`^( *- )${SPAN}$`, 'gm');

/** A Table without its ages; undefined: no Table, or one without. */
export function maskAges(body: Buffer): Masked | undefined {
  const text = body.toString('latin1');
  const yaml = /^kind: Table$/m.test(text);
  if (!yaml && !/"kind":\s*"Table"/.test(text)) return undefined;
  const masked = yaml ? text.replaceAll(AGE_IN_YAML, '$1AGE') : text.replaceAll(AGE, '"AGE"');
  return masked === text ? undefined : { bytes: Buffer.from(masked, 'latin1'), ids: ['ages'] };
}

/** An event of a Table watch without its columns and ages; undefined: no Table. */
export function maskTableEvent(frame: Buffer): Masked | undefined {
  const text = frame.toString('latin1');
  if (!text.includes('"kind":"Table"')) return undefined;
  const masked = text.replace(/"columnDefinitions":(?:null|\[.*?\]),"rows"/, '"rows"');
  const ages = maskAges(Buffer.from(masked, 'latin1'));
  return {
    bytes: ages?.bytes ?? Buffer.from(masked, 'latin1'),
    ids: masked === text ? (ages?.ids ?? []) : ['table columns', ...(ages?.ids ?? [])],
  };
}

const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;
const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g;

/** What upstream makes anew for each write. */
export function maskMinted(body: Buffer): Masked | undefined {
  const text = body.toString('latin1');
  const masked = text.replaceAll(UUID, 'UID').replaceAll(TIME, 'TIME');
  return masked === text ? undefined : { bytes: Buffer.from(masked, 'latin1'), ids: ['minted'] };
}
