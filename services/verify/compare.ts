import { parseApiRequest } from '@dogwatch/kube/api-request.ts';
import { MalformedFrame } from '@dogwatch/kube/malformed-frame.ts';
import { scanObject } from '@dogwatch/kube/object-scanner.ts';
import { parseResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { parseWatchFrame, type WatchEvent } from '@dogwatch/kube/watch-event.ts';
import type { Encoding } from '@dogwatch/kube/lane.ts';
import { type Answer, encodingOf, header } from './answer.ts';
import type { Exchange } from './exchange.ts';
import {
  type Masked,
  maskAges,
  maskBookmark,
  maskList,
  maskMinted,
  maskStatus,
  maskTableEvent,
  type VersionRange,
} from './masks.ts';
import { UNKNOWN_METHOD, type VerifyRequest } from './request.ts';
import type { WantedId } from './wanted.ts';

/** Headers a client can tell the two by. Lengths, dates and connections are each server's own. */
const COMPARED_HEADERS = [
  'content-type',
  'content-encoding',
  'vary',
  'cache-control',
  'warning',
  'retry-after',
  'x-content-type-options',
  'www-authenticate',
  'location',
  'allow',
] as const;

/** One way in which the answers differ. */
export interface Difference {
  /** `status`, `header NAME`, `body`, `event N`, `end` or `connection`. */
  readonly part: string;
  readonly upstream: Buffer;
  readonly dogwatch: Buffer;
}

export interface Comparison {
  /** The first that was found; what comes after one often follows from it. */
  readonly difference: Difference | undefined;
  /** What had to be forgiven. */
  readonly wanted: ReadonlySet<WantedId>;
}

export interface Circumstances {
  /** The cluster's when the answers had come. */
  readonly version: number;
  /** False: upstream ignores shardSelector. */
  readonly sharded: boolean;
}

/** Compares the answers to one request. */
export function compare({ request, upstream, dogwatch }: Exchange, { version, sharded }: Circumstances): Comparison {
  const wanted = new Set<WantedId>();
  if (!sharded && [200, 410].includes(dogwatch.status) && upstream.status === 200 && isSharded(request)) {
    wanted.add('shards');
    return { difference: undefined, wanted };
  }
  if (dogwatch.status === 400 && isBadRequestLine(request, upstream)) {
    wanted.add('request line');
    return { difference: undefined, wanted };
  }
  const comparison = { request, range: rangeOf(request, version), wanted };
  const difference =
    compareHeads(upstream, dogwatch, comparison) ??
    (upstream.frames === undefined || dogwatch.frames === undefined
      ? compareBodies(upstream, dogwatch, comparison)
      : compareFrames(upstream, dogwatch, comparison)) ??
    compareEnds(upstream, dogwatch);
  return { difference, wanted };
}

interface Context {
  readonly request: VerifyRequest;
  /** Undefined where the version must be the same. */
  readonly range: VersionRange | undefined;
  readonly wanted: Set<WantedId>;
}

/** Which versions may stand in a list or its end bookmark: none but the same, where one exact state was asked for. */
function rangeOf({ method, path }: VerifyRequest, to: number): VersionRange | undefined {
  const { query } = parseApiRequest(method, path);
  const asked = query.get('resourceVersion') ?? '';
  const match = query.get('resourceVersionMatch') ?? '';
  const limited = !['', '0'].includes(query.get('limit') ?? '');
  if (match === 'Exact' || (query.get('continue') ?? '') !== '') return undefined;
  if (match === '' && limited && !['', '0'].includes(asked) && !path.includes('watch')) return undefined;
  return { from: parseResourceVersion(asked) ?? 0, to };
}

/** What one of the two refuses before it is a request. */
function isBadRequestLine({ protocol, method, path }: VerifyRequest, upstream: Answer): boolean {
  if (protocol === 'h1') return method === UNKNOWN_METHOD || /[^\x21-\x7e]/.test(path);
  return upstream.end === 'broken' && /%(?![0-9a-f]{2})/i.test(path);
}

function isSharded({ method, path }: VerifyRequest): boolean {
  const { query, verb } = parseApiRequest(method, path);
  return (verb === 'list' || verb === 'watch') && (query.get('shardSelector') ?? '') !== '';
}

function compareHeads(upstream: Answer, dogwatch: Answer, { wanted }: Context): Difference | undefined {
  if (upstream.problem !== dogwatch.problem) {
    return text('connection', upstream.problem ?? 'answered', dogwatch.problem ?? 'answered');
  }
  if (upstream.status !== dogwatch.status) {
    if (upstream.status === 410 && dogwatch.status === 200) {
      wanted.add('longer history');
      return undefined;
    }
    return text('status', said(upstream), said(dogwatch));
  }
  for (const name of COMPARED_HEADERS) {
    const [a, b] = [header(upstream, name), header(dogwatch, name)];
    if (a !== b) return text(`header ${name}`, a, b);
  }
  const [a, b] = [upstream, dogwatch].map((answer) => (header(answer, 'audit-id') === '' ? 'absent' : 'present'));
  return a === b ? undefined : text('header audit-id', a ?? '', b ?? '');
}

function said({ status, body }: Answer): string {
  return `${status} ${body.toString('latin1', 0, 300)}`;
}

function compareBodies(upstream: Answer, dogwatch: Answer, context: Context): Difference | undefined {
  if (context.wanted.has('longer history')) return undefined;
  let pair = [upstream.body, dogwatch.body] as const;
  if (pair[0].equals(pair[1])) return undefined;
  const encoding = encodingOf(upstream);
  const { range, request } = context;
  const masks: ((body: Buffer) => Masked | undefined)[] = [
    (body) => maskStatus(encoding, body),
    (body) => maskList(body, range),
    maskAges,
    (body) => (request.path.includes('dryRun=All') ? maskMinted(body) : undefined),
  ];
  const ids: WantedId[] = [];
  for (const mask of masks) {
    const masked = pair.map((body) => tolerant(() => mask(body)));
    if (masked[0] === undefined || masked[1] === undefined) continue;
    ids.push(...masked[0].ids, ...masked[1].ids);
    pair = [masked[0].bytes, masked[1].bytes];
    if (!pair[0].equals(pair[1])) continue;
    for (const id of ids) context.wanted.add(id);
    return undefined;
  }
  return { part: 'body', upstream: pair[0], dogwatch: pair[1] };
}

function compareFrames(upstream: Answer, dogwatch: Answer, context: Context): Difference | undefined {
  const encoding = encodingOf(upstream);
  const sides = [upstream, dogwatch].map((answer) => eventsOf(encoding, answer.frames ?? []));
  const [theirs = [], ours = []] = sides.map((events) => events.filter((event) => !isPassing(encoding, event)));
  if (theirs.length !== (upstream.frames?.length ?? 0) || ours.length !== (dogwatch.frames?.length ?? 0)) {
    context.wanted.add('bookmarks');
  }
  const [first] = theirs;
  if (first?.type === 'ERROR' && ours[0]?.type !== 'ERROR' && first.frame.includes('too old resource version')) {
    context.wanted.add('longer history');
    return undefined;
  }
  for (let i = 0; i < Math.max(theirs.length, ours.length); i++) {
    const [a, b] = [theirs[i], ours[i]];
    if (a !== undefined && b !== undefined && sameEvent(encoding, [a, b], context)) continue;
    const none = Buffer.from(`nothing, after ${i} events`);
    return { part: `event ${i}`, upstream: a?.frame ?? none, dogwatch: b?.frame ?? none };
  }
  return undefined;
}

type FramedEvent = Partial<WatchEvent> & { readonly frame: Buffer };

function eventsOf(encoding: Encoding, frames: readonly Buffer[]): FramedEvent[] {
  return frames.map((frame) => ({ frame, ...tolerant(() => parseWatchFrame(encoding, frame)) }));
}

/** A bookmark that does not end the initial events. */
function isPassing(encoding: Encoding, { type, object }: FramedEvent): boolean {
  if (type !== 'BOOKMARK' || object === undefined) return false;
  return (
    tolerant(() => scanObject(encoding, object))?.initialEventsEnd !== true && !object.includes('initial-events-end')
  );
}

function sameEvent(encoding: Encoding, [a, b]: readonly [FramedEvent, FramedEvent], context: Context): boolean {
  if (a.frame.equals(b.frame)) return true;
  const { range, wanted } = context;
  if (a.type !== b.type || a.object === undefined || b.object === undefined) return false;
  const [theirs, ours] = [a.object, b.object];
  if (a.type === 'BOOKMARK' && range !== undefined) {
    wanted.add('end bookmark version');
    return maskBookmark(encoding, theirs, range).equals(maskBookmark(encoding, ours, range));
  }
  if (a.type === 'ERROR') {
    const masked = [theirs, ours].map((object) => tolerant(() => maskStatus(encoding, object)));
    for (const id of masked[0]?.ids ?? []) wanted.add(id);
    return masked[0] !== undefined && masked[1] !== undefined && masked[0].bytes.equals(masked[1].bytes);
  }
  const tables = [a.frame, b.frame].map(maskTableEvent);
  for (const id of tables[0]?.ids ?? []) wanted.add(id);
  return tables[0] !== undefined && tables[1] !== undefined && tables[0].bytes.equals(tables[1].bytes);
}

function compareEnds(upstream: Answer, dogwatch: Answer): Difference | undefined {
  return upstream.end === dogwatch.end ? undefined : text('end', upstream.end, dogwatch.end);
}

function text(part: string, upstream: string, dogwatch: string): Difference {
  return { part, upstream: Buffer.from(upstream), dogwatch: Buffer.from(dogwatch) };
}

/** Undefined where the bytes are not what the reading expects: they are then compared as they are. */
function tolerant<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof MalformedFrame || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
