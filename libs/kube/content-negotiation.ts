import { goBool, goFloat32 } from './go-strconv.ts';
import type { QueryParameters } from './query-parameters.ts';
import { notAcceptable, type StatusBody } from './status.ts';

/** CBOR is off upstream (its gate is alpha): asking for it is asking for a type that is not offered. */
export type MediaType = 'json' | 'yaml' | 'protobuf';

export type Transform = 'Table' | 'PartialObjectMetadata' | 'PartialObjectMetadataList';

/** How an answer is to be encoded. */
export interface Negotiated {
  readonly mediaType: MediaType;
  /** Undefined: whole objects. Upstream refuses a PartialObjectMetadata of a list, or a …List of an object, only later (row N3). */
  readonly as: Transform | undefined;
  /** Of meta.k8s.io, for `as`. */
  readonly asVersion: 'v1' | 'v1beta1';
  /** `pretty=1` in the accepted clause; see also prettyRequested. */
  readonly pretty: boolean;
}

/** What is asked for: upstream's handlers for its own types and for custom resources differ. */
export interface Offer {
  readonly verb: 'get' | 'list' | 'watch';
  readonly customResource: boolean;
}

const TYPES: readonly { readonly mediaType: MediaType; readonly subtype: string }[] = [
  { mediaType: 'json', subtype: 'json' },
  { mediaType: 'yaml', subtype: 'yaml' },
  { mediaType: 'protobuf', subtype: 'vnd.kubernetes.protobuf' },
];
const NAMES = TYPES.map(({ subtype }) => `application/${subtype}`);
const STREAM_NAMES = TYPES.filter(({ mediaType }) => mediaType !== 'yaml').map(
  ({ subtype }) => `application/${subtype};stream=watch`,
);

/** The Content-Type of an answer (rows F1, F2, N2). */
export function contentType(mediaType: MediaType, watch: boolean): string {
  const name = NAMES[TYPES.findIndex((type) => type.mediaType === mediaType)] ?? '';
  return watch && mediaType !== 'json' ? `${name};stream=watch` : name;
}

/**
 * Chooses an encoding as upstream does (row N1), or undefined if nothing it offers is accepted: then
 * `notAcceptableStatus` is the answer.
 */
export function negotiate(accept: string | undefined, offer: Offer): Negotiated | undefined {
  const chosen = choose(accept, offer);
  return typeof chosen === 'string' ? undefined : chosen;
}

/** The 406 for an Accept header of which `negotiate` takes nothing (rows G9, F3). */
export function notAcceptableStatus(accept: string | undefined, offer: Offer): StatusBody {
  const refusedBy = choose(accept, offer);
  switch (refusedBy) {
    case 'router': {
      const available = offer.verb === 'get' ? NAMES : [...NAMES, ...STREAM_NAMES];
      return notAcceptable(`406: Not Acceptable\n\nAvailable representations: ${available.join(', ')}`, {});
    }
    case 'stream':
      return notAcceptable(`only the following media types are accepted: ${STREAM_NAMES.join(', ')}`);
    default:
      return notAcceptable(`only the following media types are accepted: ${NAMES.join(', ')}`);
  }
}

/** The choice, or which of upstream's three gates refused: its router, its handler, or its watch. */
function choose(accept: string | undefined, offer: Offer): Negotiated | 'router' | 'handler' | 'stream' {
  const header = (accept ?? '').trim();
  if (!offer.customResource && !routerTakes(header)) return 'router';
  const chosen = firstAcceptable(header, (clause, mediaType) => parameters(clause, mediaType, offer.customResource));
  if (chosen === undefined) return 'handler';
  return offer.verb === 'watch' && chosen.mediaType === 'yaml' ? 'stream' : chosen;
}

/**
 * The encoding of a Status, which knows no transforms: undefined where upstream falls back to plain, indented JSON
 * because the client accepts nothing, or only Tables and the like.
 */
export function negotiateStatus(accept: string | undefined): Negotiated | undefined {
  return firstAcceptable((accept ?? '').trim(), (clause, mediaType) => {
    const { as, g, v, sv = '', stream = '', pretty } = Object.fromEntries(clause.parameters);
    const transformed = as !== undefined || g !== undefined || v !== undefined;
    if (transformed || sv !== '' || !streamTaken(stream, mediaType)) return undefined;
    return { mediaType, as: undefined, asVersion: 'v1', pretty: pretty === '1' };
  });
}

/** Row N4: indentation asked for by the query or, without a word there, by a client that people type at. */
export function prettyRequested(query: QueryParameters, userAgent: string | undefined): boolean {
  const asked = query.get('pretty') ?? '';
  return asked === '' ? /^(?:curl|Wget|Mozilla\/5\.0)/.test(userAgent ?? '') : goBool(asked);
}

/** go-restful, in front of the handlers of built-in types: exact names or all, parameters and weights unread. */
function routerTakes(header: string): boolean {
  if (header === '') return true;
  return header.split(',').some((clause) => {
    const name = trimSpaces(clause.split(';', 1)[0] ?? '');
    return name === '*/*' || NAMES.includes(name);
  });
}

/** go-restful and goautoneg trim spaces only, no tabs. */
function trimSpaces(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && text[start] === ' ') start += 1;
  while (end > start && text[end - 1] === ' ') end -= 1;
  return text.slice(start, end);
}

interface Clause {
  readonly type: string;
  readonly subtype: string;
  readonly weight: number;
  readonly parameters: ReadonlyMap<string, string>;
}

/** The first clause, by upstream's order, of which some type is taken; within a clause JSON before YAML before protobuf. */
function firstAcceptable(
  header: string,
  take: (clause: Clause, mediaType: MediaType) => Negotiated | undefined,
): Negotiated | undefined {
  if (header === '') return { mediaType: 'json', as: undefined, asVersion: 'v1', pretty: false };
  for (const clause of clauses(header)) {
    for (const { mediaType, subtype } of TYPES) {
      const named = clause.type === 'application' && (clause.subtype === subtype || clause.subtype === '*');
      if (!named && !(clause.type === '*' && clause.subtype === '*')) continue;
      const taken = take(clause, mediaType);
      if (taken !== undefined) return taken;
    }
  }
  return undefined;
}

function parameters(clause: Clause, mediaType: MediaType, customResource: boolean): Negotiated | undefined {
  const { as, g, v, sv = '', stream = '', pretty } = Object.fromEntries(clause.parameters);
  if ((sv !== '' && sv !== 'v1') || !streamTaken(stream, mediaType)) return undefined;
  const whole = as === undefined && g === undefined && v === undefined;
  if (whole) {
    if (customResource && mediaType === 'protobuf') return undefined;
    return { mediaType, as: undefined, asVersion: 'v1', pretty: pretty === '1' };
  }
  if (g !== 'meta.k8s.io' || (v !== 'v1' && v !== 'v1beta1')) return undefined;
  if (as !== 'Table' && as !== 'PartialObjectMetadata' && as !== 'PartialObjectMetadataList') return undefined;
  if (as === 'Table' && mediaType === 'protobuf') return undefined;
  return { mediaType, as, asVersion: v, pretty: pretty === '1' };
}

function streamTaken(stream: string, mediaType: MediaType): boolean {
  return stream === '' || (stream === 'watch' && mediaType !== 'yaml');
}

/** The clauses of an Accept header in upstream's order (goautoneg.ParseAccept). */
function clauses(header: string): readonly Clause[] {
  const found: Clause[] = [];
  for (const part of header.split(',')) {
    const [range = '', ...rest] = trimSpaces(part).split(';');
    const [type = '', subtype = '', ...excess] = range.split('/').map(trimSpaces);
    if (excess.join('/') !== '') continue;
    const bare = !/\/./.test(range);
    if (bare && type !== '*') continue;
    const given = new Map<string, string>();
    let weight = 1;
    for (const parameter of rest) {
      const equals = parameter.indexOf('=');
      const [value = '', ...excessValues] = equals === -1 ? [] : parameter.slice(equals + 1).split('=');
      if ((value === '' && excessValues.length === 0) || excessValues.join('=') !== '') continue;
      const key = trimSpaces(parameter.slice(0, equals));
      if (key === 'q') weight = goFloat32(value);
      else given.set(key, trimSpaces(value));
    }
    found.push({ type, subtype: bare ? '*' : subtype, weight, parameters: given });
  }
  return sortClauses(found);
}

/** Go sorts up to 12 elements by insertion; what is longer is put in an order that differs from upstream's only among ties. */
const MAX_INSERTION_SORT = 12;

function sortClauses(list: Clause[]): readonly Clause[] {
  if (list.length > MAX_INSERTION_SORT) return list.toSorted((a, b) => (before(a, b) ? -1 : before(b, a) ? 1 : 0));
  for (let index = 1; index < list.length; index += 1) {
    for (let at = index; at > 0; at -= 1) {
      const [left, right] = [list[at - 1], list[at]];
      if (left === undefined || right === undefined || !before(right, left)) break;
      list[at - 1] = right;
      list[at] = left;
    }
  }
  return list;
}

/** Upstream's Less. It is no order: a named type goes before a wildcard whatever their weights. */
function before(a: Clause, b: Clause): boolean {
  return a.weight > b.weight || (a.type !== '*' && b.type === '*') || (a.subtype !== '*' && b.subtype === '*');
}
