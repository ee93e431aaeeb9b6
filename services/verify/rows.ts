import { type ApiRequest, parseApiRequest } from '@dogwatch/kube/api-request.ts';
import { type Answer, encodingOf, header } from './answer.ts';
import type { Exchange } from './exchange.ts';
import type { VerifyRequest } from './request.ts';

/** A request and what kube-apiserver answered, as the rows look at it. */
interface Seen {
  readonly request: VerifyRequest;
  readonly api: ApiRequest;
  readonly answer: Answer;
  /** Of a query parameter; "" if it is not there. */
  q(name: string): string;
  /** In the body or any event. */
  says(text: string): boolean;
}

/** A row of the contract: a behaviour by which clients could tell the two apart. */
export interface Row {
  readonly id: string;
  readonly what: string;
  /** Whether a request has tried it; undefined: one request cannot. */
  readonly hit: ((seen: Seen) => boolean) | undefined;
  /** Why one request cannot; a test that has the row in its title shows it. */
  readonly whyNot: string | undefined;
}

const row = (id: string, what: string, hit: (seen: Seen) => boolean): Row => ({ id, what, hit, whyNot: undefined });
const apart = (id: string, what: string, whyNot: string): Row => ({ id, what, hit: undefined, whyNot });

const list = ({ api, answer }: Seen): boolean => api.verb === 'list' && answer.status === 200;
const watching = ({ answer }: Seen): boolean => answer.frames !== undefined;
const get = ({ api, answer }: Seen): boolean => api.verb === 'get' && api.isResourceRequest && answer.status === 200;
const event = ({ answer }: Seen, type: string): boolean =>
  answer.frames?.some((frame) => frame.includes(type)) === true;
const accepts = ({ request }: Seen, text: string): boolean => request.headers['accept']?.includes(text) === true;
const number = (text: string): boolean => /^[1-9]\d*$/.test(text);
const custom = ({ api }: Seen): boolean => api.group.includes('.') && !api.group.endsWith('.k8s.io');
const limited = (seen: Seen): boolean => number(seen.q('limit'));

/** Rows for which dogwatch answers from its cache or what it learned, or whose answer it must not disturb. */
export const ROWS: readonly Row[] = [
  row('G1', 'undecodable query: 400', (s) => s.answer.status === 400 && !s.says('continue')),
  row('G2', 'unknown query parameters are ignored', (s) => s.q('foo') !== '' && s.answer.status === 200),
  row('G3', 'options that contradict each other: 422', (s) => s.answer.status === 422),
  row('G4', 'unknown token: 401', (s) => s.answer.status === 401),
  row('G5', 'no right: 403', (s) => s.answer.status === 403),
  row('G6', 'no such object: 404', (s) => s.answer.status === 404 && s.says('not found')),
  row('G7', 'no such path: 404 in text', (s) => s.answer.status === 404 && s.says('404 page not found')),
  row('G8', 'no such method: 405', (s) => s.answer.status === 405),
  row('G9', 'no acceptable type: 406', (s) => s.answer.status === 406),
  apart('G10', 'overload: 429', 'each side has limits of its own, and a request that meets one is sent again'),
  apart('G11', 'cache not ready: 429', 'each side begins at a moment of its own, and the request is sent again'),
  apart('G12', 'deadline: 504', 'whether a deadline passes is a race between the two sides'),
  apart('G13', 'failure: 500', 'no request is known that makes either side fail'),
  row('G14', 'a Status in the negotiated type', (s) => s.answer.status >= 400 && encodingOf(s.answer) === 'protobuf'),
  row('L1', 'list, consistent', (s) => list(s) && s.q('resourceVersion') === '' && !limited(s)),
  row('L2', 'list at "0" ignores its limit', (s) => list(s) && s.q('resourceVersion') === '0' && limited(s)),
  row(
    'L3',
    'list not older than a version',
    (s) => list(s) && number(s.q('resourceVersion')) && s.q('resourceVersionMatch') !== 'Exact',
  ),
  row(
    'L4',
    'list at a version with a limit is exact',
    (s) => list(s) && number(s.q('resourceVersion')) && limited(s) && s.q('resourceVersionMatch') === '',
  ),
  row('L5', 'list at exactly a version', (s) => list(s) && s.q('resourceVersionMatch') === 'Exact'),
  row('L6', 'list options that contradict each other', (s) => s.api.verb === 'list' && s.answer.status === 422),
  row('L7', 'continue with a version: 400', (s) =>
    s.says('specifying resource version is not allowed when using continue'),
  ),
  row('L8', 'bad continue: 400', (s) => s.answer.status === 400 && s.q('continue') !== '' && !s.says('not allowed')),
  row('L9', 'bad version', (s) => ['abc', '-1'].includes(s.q('resourceVersion')) && s.answer.status >= 400),
  row('L10', 'list newer than the cluster: 504', (s) => s.api.verb === 'list' && s.answer.status === 504),
  row('L11', 'list at a compacted version: 410', (s) => s.answer.status === 410 && s.q('continue') === ''),
  row('L12', 'continue at a compacted version: 410', (s) => s.answer.status === 410 && s.q('continue') !== ''),
  row('L13', 'tokens of either side', (s) => list(s) && s.request.firstPage !== undefined && s.q('continue') !== ''),
  row('L14', 'pages', (s) => list(s) && limited(s) && s.says('remainingItemCount')),
  row('L15', 'order of a list', (s) => list(s) && s.api.namespace === '' && s.says('"items"')),
  row('L16', 'list of a namespace that is not there', (s) => list(s) && s.api.namespace === 'absent'),
  row('L17', 'list of one name', (s) => list(s) && s.q('fieldSelector').includes('metadata.name=')),
  row('L18', 'names that contradict each other: 400', (s) => s.says('fieldSelector metadata.name')),
  row('L19', 'kind of items', (s) => list(s) && custom(s)),
  row('L20', 'key order of lists', (s) => list(s) && encodingOf(s.answer) === 'json'),
  row('L21', 'metadata of lists', (s) => list(s) && s.says('resourceVersion')),
  row(
    'L22',
    'timeouts of a list',
    (s) => s.api.verb === 'list' && (s.q('timeout') !== '' || s.q('timeoutSeconds') !== ''),
  ),
  apart('L23', 'paged list while not ready', 'it lasts for a moment after a lane or kube-apiserver has started'),
  row('O1', 'get, consistent', (s) => get(s) && s.q('resourceVersion') === ''),
  row('O2', 'get from the cache', (s) => get(s) && s.q('resourceVersion') === '0'),
  row('O3', 'get not older than a version', (s) => get(s) && number(s.q('resourceVersion'))),
  row('O4', 'export: 400', (s) => s.api.verb === 'get' && s.q('export') !== ''),
  row('O5', 'subresources', (s) => s.api.subresource !== ''),
  row('W1', 'watch options that contradict each other', (s) => s.api.verb === 'watch' && s.answer.status === 422),
  row(
    'W2',
    'watch without options is a watch-list',
    (s) =>
      watching(s) &&
      s.q('sendInitialEvents') === '' &&
      ['', '0'].includes(s.q('resourceVersion')) &&
      !s.api.legacyWatchPrefix,
  ),
  row('W3', 'the /watch/ prefix', (s) => watching(s) && s.api.legacyWatchPrefix),
  row(
    'W4',
    'watch-list, consistent',
    (s) => watching(s) && s.q('sendInitialEvents') === 'true' && s.q('resourceVersion') === '',
  ),
  row(
    'W5',
    'watch-list at a version',
    (s) => watching(s) && s.q('sendInitialEvents') === 'true' && s.q('resourceVersion') !== '',
  ),
  row('W6', 'watch without initial events', (s) => watching(s) && s.q('sendInitialEvents') === 'false'),
  row(
    'W7',
    'watch from a version',
    (s) => watching(s) && s.q('sendInitialEvents') === '' && number(s.q('resourceVersion')),
  ),
  row('W8', 'watch from before history: 410', (s) => watching(s) && s.says('too old resource version')),
  row(
    'W9',
    'watch of events from before history',
    (s) => watching(s) && s.api.resource === 'events' && number(s.q('resourceVersion')),
  ),
  apart('W10', 'overrun: clean end', 'it needs a client that does not read, and many changes'),
  row('W11', 'other errors of a watch', (s) => watching(s) && event(s, 'ERROR') && !s.says('too old')),
  row('W12', 'timeout of a watch', (s) => watching(s) && s.answer.end === 'ended' && s.q('timeoutSeconds') !== ''),
  row('W13', 'bookmarks', (s) => watching(s) && s.q('allowWatchBookmarks') === 'true'),
  row('W14', 'the object of a bookmark', (s) => watching(s) && event(s, 'initial-events-end')),
  row(
    'W15',
    'changes of what selectors see',
    (s) => s.request.live && event(s, 'DELETED') && s.q('labelSelector') !== '',
  ),
  row('W16', 'deletes', (s) => s.request.live && event(s, 'DELETED')),
  row('W17', 'one order', (s) => s.request.live && (s.answer.frames?.length ?? 0) > 1),
  row('W18', 'rights see selectors', (s) => s.request.asker.kind === 'token' && s.q('fieldSelector') !== ''),
  apart('W19', 'change and removal of a definition', 'it changes the cluster'),
  apart('W20', 'a cache that begins anew', 'it needs a restart of kube-apiserver'),
  row('W21', 'watch of events', (s) => watching(s) && s.api.resource === 'events'),
  row('W22', 'the watch verb', (s) => s.api.verb === 'watch' && s.answer.status === 403),
  row('F1', 'JSON frames', (s) => watching(s) && encodingOf(s.answer) === 'json'),
  row('F2', 'protobuf frames', (s) => watching(s) && encodingOf(s.answer) === 'protobuf'),
  row('F3', 'YAML watch: 406', (s) => s.api.verb === 'watch' && accepts(s, 'yaml') && s.answer.status === 406),
  row('F5', 'WebSocket', (s) => s.request.headers['upgrade'] === 'websocket'),
  apart('F6', 'flush', 'it shows in when bytes come, not in which'),
  row('F7', 'head before the first event', (s) => watching(s) && s.answer.frames?.length === 0),
  row(
    'S1',
    'field selectors of built-in types',
    (s) => s.answer.status === 200 && /^(spec|status|type|involvedObject|reason)/.test(s.q('fieldSelector')),
  ),
  row(
    'S2',
    'selectableFields of custom resources',
    (s) => s.answer.status === 200 && custom(s) && s.q('fieldSelector').includes('spec.'),
  ),
  row(
    'S3',
    'unknown field labels: 400',
    (s) => s.answer.status === 400 && /field (label|selector)/.test(s.answer.body.toString('latin1')),
  ),
  row('N1', 'Accept', (s) => s.answer.status === 200 && (accepts(s, ',') || accepts(s, '*'))),
  row('N2', 'Table', (s) => s.answer.status === 200 && accepts(s, 'as=Table')),
  row('N3', 'PartialObjectMetadata', (s) => s.answer.status === 200 && accepts(s, 'PartialObjectMetadata')),
  row('N4', 'pretty', (s) => s.answer.status === 200 && s.says('\n  "')),
  row('N5', 'gzip', (s) => !watching(s) && header(s.answer, 'content-encoding') === 'gzip'),
  row('N6', 'gzip of watch-lists', (s) => watching(s) && header(s.answer, 'content-encoding') === 'gzip'),
  row('N7', 'streamed lists', (s) => list(s)),
  row('H1', 'Audit-Id', (s) => s.request.headers['audit-id'] !== undefined),
  row('H2', 'Cache-Control', (s) => header(s.answer, 'cache-control') !== ''),
  row('H3', 'priority level headers', (s) => header(s.answer, 'x-kubernetes-pf-flowschema-uid') !== ''),
  row('H4', 'Warning', (s) => header(s.answer, 'warning') !== ''),
  row('H5', 'no ETag', (s) => s.answer.status === 200 && header(s.answer, 'etag') === ''),
  row('H6', 'HTTP/2 streams', (s) => s.request.protocol === 'h2'),
  apart('H7', 'HTTP/2 windows and limits', 'they belong to a connection, not to a request'),
  apart('H8', 'PING', 'it belongs to a connection, not to a request'),
  apart('H9', 'GOAWAY', 'it is off by default, and chance where it is on'),
  apart('H10', 'deadline of a list', 'it takes a minute, or is a race'),
  apart('H11', 'graceful end', 'it ends the server'),
  apart('H12', 'fairness', 'it needs many requests at once'),
  apart('H13', 'number of watches', 'it needs many watches at once'),
];

/** The rows that a request has tried. */
export function rowsHit({ request, upstream: answer }: Exchange): string[] {
  const api = parseApiRequest(request.method, request.path);
  const seen: Seen = {
    request,
    api,
    answer,
    q: (name) => api.query.get(name) ?? '',
    says: (text) => answer.body.includes(text) || answer.frames?.some((frame) => frame.includes(text)) === true,
  };
  return ROWS.filter(({ hit }) => hit?.(seen) === true).map(({ id }) => id);
}
