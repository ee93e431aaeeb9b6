import { parseListOptions, wantsWatch } from './list-options.ts';
import { QueryParameters } from './query-parameters.ts';
import { StatusError } from './status.ts';

/**
 * A request as upstream's authorizer sees it (k8s.io/apiserver/pkg/endpoints/request/requestinfo.go). Both the rights
 * and the cache are asked with this one reading. Strings that do not apply are "".
 */
export interface ApiRequest {
  readonly method: string;
  /** Decoded, without the query; as sent if it cannot be decoded. */
  readonly path: string;
  readonly query: QueryParameters;
  /** False for paths outside `/api/VERSION/…` and `/apis/GROUP/VERSION/…`. */
  readonly isResourceRequest: boolean;
  /** get, list, watch, create, update, patch, delete, deletecollection, proxy or "" for resources; else the HTTP method in lower case. */
  readonly verb: string;
  /** `api` or `apis`. */
  readonly apiPrefix: string;
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource: string;
  /** Also set, to its own name, for a Namespace object. */
  readonly namespace: string;
  /** From the path, or from `metadata.name=…` in the field selector of a list or watch. */
  readonly name: string;
  /** Row W3: `/api/v1/watch/…`. */
  readonly legacyWatchPrefix: boolean;
  /** Raw, "" unless upstream shows it to the authorizer: for list, watch and deletecollection without a legacy prefix. */
  readonly fieldSelector: string;
  readonly labelSelector: string;
  /** Why another reader of the same bytes might see another request, or undefined. */
  readonly ambiguous: string | undefined;
  /** True for an unambiguous get, list or watch of a resource; all else is forwarded untouched and never served. */
  readonly cacheable: boolean;
}

/** What decides the answer to a LIST, WATCH or GET: repeated, different readers would take different values. */
const SINGLE_VALUED = [
  'watch',
  'fieldSelector',
  'labelSelector',
  'resourceVersion',
  'resourceVersionMatch',
  'limit',
  'continue',
  'timeoutSeconds',
  'timeout',
  'allowWatchBookmarks',
  'sendInitialEvents',
  'shardSelector',
  'pretty',
  'includeObject',
  'export',
];

const SPECIAL_VERBS: ReadonlySet<string> = new Set(['proxy', 'watch']);
const NAMESPACE_SUBRESOURCES: ReadonlySet<string> = new Set(['status', 'finalize']);
const VERBS_WITH_SELECTORS: ReadonlySet<string> = new Set(['list', 'watch', 'deletecollection']);
const VERB_OF_METHOD: ReadonlyMap<string, string> = new Map([
  ['POST', 'create'],
  ['GET', 'get'],
  ['HEAD', 'get'],
  ['PUT', 'update'],
  ['PATCH', 'patch'],
  ['DELETE', 'delete'],
]);

/** Reads a request line: `url` is the path and query as sent. Never throws. */
export function parseApiRequest(method: string, url: string): ApiRequest {
  const questionMark = url.indexOf('?');
  const rawPath = questionMark === -1 ? url : url.slice(0, questionMark);
  const query = QueryParameters.parse(questionMark === -1 ? '' : url.slice(questionMark + 1));
  const decoded = decodePath(rawPath);
  const found = resourceOf(method, decoded.path, query);
  const repeated = SINGLE_VALUED.find((name) => query.isRepeated(name));
  const ambiguous =
    decoded.defect ??
    found.defect ??
    query.defect ??
    (repeated === undefined ? undefined : `${repeated} more than once in the query`);
  const readable = method === 'GET' && ['get', 'list', 'watch'].includes(found.attributes.verb);
  return {
    ...found.attributes,
    method,
    path: decoded.path,
    query,
    ambiguous,
    cacheable:
      ambiguous === undefined && readable && found.attributes.isResourceRequest && found.attributes.subresource === '',
  };
}

/** Decodes a path and says what in it a proxy, a router or an authorizer could read in different ways. */
function decodePath(rawPath: string): { path: string; defect: string | undefined } {
  if (!rawPath.startsWith('/')) return { path: rawPath, defect: 'a path that does not begin with a slash' };
  try {
    const encoded = rawPath.includes('%');
    const path = encoded ? decodeURIComponent(rawPath) : rawPath;
    if (rawPath === '/') return { path, defect: undefined };
    let defect: string | undefined;
    for (const segment of rawPath.slice(1).split('/')) {
      defect ??= segmentDefect(encoded ? decodeURIComponent(segment) : segment);
    }
    return { path, defect };
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    return { path: rawPath, defect: 'a percent sign in the path that does not begin an encoded UTF-8 character' };
  }
}

function segmentDefect(segment: string): string | undefined {
  if (segment === '') return 'an empty path segment';
  if (segment === '.' || segment === '..') return 'a relative path segment';
  if (segment.includes('/')) return 'an encoded slash';
  return /^[A-Za-z0-9\-._~:@!$&'()*+,;=]+$/.test(segment) ? undefined : 'an unusual character in a path segment';
}

type Attributes = Omit<ApiRequest, 'method' | 'path' | 'query' | 'ambiguous' | 'cacheable'>;

interface Found {
  readonly attributes: Attributes;
  readonly defect?: string;
}

function resourceOf(method: string, path: string, query: QueryParameters): Found {
  const nothing: Attributes = {
    isResourceRequest: false,
    verb: method.toLowerCase(),
    apiPrefix: '',
    group: '',
    version: '',
    resource: '',
    subresource: '',
    namespace: '',
    name: '',
    legacyWatchPrefix: false,
    fieldSelector: '',
    labelSelector: '',
  };
  const [apiPrefix = '', ...segments] = trimSlashes(path).split('/');
  const grouped = apiPrefix === 'apis';
  if (!grouped && apiPrefix !== 'api') return { attributes: nothing };
  if (segments.length < (grouped ? 3 : 2))
    return { attributes: { ...nothing, ...(segments.length < 2 ? {} : { apiPrefix }) } };
  const [group = '', version = '', ...rest] = grouped ? segments : ['', ...segments];
  const base = { ...nothing, apiPrefix, group, version, isResourceRequest: true };
  const special = SPECIAL_VERBS.has(rest[0] ?? '');
  // Upstream answers 500: "unable to determine kind and namespace from url".
  if (special && rest.length < 2) return { attributes: base, defect: 'a special verb without a resource' };
  const verb = special ? (rest[0] ?? '') : (VERB_OF_METHOD.get(method) ?? '');
  const segmentsOfPlace = special ? rest.slice(1) : rest;
  const place = placeOf(segmentsOfPlace, verb);
  const attributes = { ...base, ...place, ...refine({ verb, special, name: place.name }, query) };
  // Rights to namespaces asked for inside one must not open all of them (CVE-2019-11247); upstream has no such path.
  const [scope, , inner] = segmentsOfPlace;
  const nested = scope === 'namespaces' && inner === 'namespaces';
  return nested ? { attributes, defect: 'namespaces inside a namespace' } : { attributes };
}

function trimSlashes(path: string): string {
  let start = 0;
  let end = path.length;
  while (start < end && path[start] === '/') start += 1;
  while (end > start && path[end - 1] === '/') end -= 1;
  return path.slice(start, end);
}

interface Place {
  readonly namespace: string;
  readonly resource: string;
  readonly name: string;
  readonly subresource: string;
}

/** Reads what follows the version and a special verb: `[namespaces/NAMESPACE/]RESOURCE[/NAME[/SUBRESOURCE…]]`. */
function placeOf(segments: readonly string[], verb: string): Place {
  const scoped = segments[0] === 'namespaces';
  const inner = scoped && segments.length > 2 && !NAMESPACE_SUBRESOURCES.has(segments[2] ?? '');
  const [resource = '', name = '', subresource = ''] = inner ? segments.slice(2) : segments;
  return {
    namespace: scoped ? (segments[1] ?? '') : '',
    resource,
    name,
    subresource: verb === 'proxy' ? '' : subresource,
  };
}

/** The final verb and name, and the selectors the authorizer sees. */
function refine(
  request: { verb: string; special: boolean; name: string },
  query: QueryParameters,
): Pick<Attributes, 'verb' | 'name' | 'legacyWatchPrefix' | 'fieldSelector' | 'labelSelector'> {
  let { verb, name } = request;
  if (name === '' && verb === 'get') {
    verb = wantsWatch(query) ? 'watch' : 'list';
    name = selectedName(query);
  }
  if (name === '' && verb === 'delete') verb = 'deletecollection';
  const shown = !request.special && VERBS_WITH_SELECTORS.has(verb);
  return {
    verb,
    name,
    legacyWatchPrefix: request.special && verb === 'watch',
    fieldSelector: shown ? (query.get('fieldSelector') ?? '') : '',
    labelSelector: shown ? (query.get('labelSelector') ?? '') : '',
  };
}

/** The name a field selector asks for, if the whole query can be decoded and the name could stand in a path. */
function selectedName(query: QueryParameters): string {
  if ((query.get('fieldSelector') ?? '') === '') return '';
  try {
    const name = parseListOptions(query).fieldSelector.exactValue('metadata.name') ?? '';
    return name === '.' || name === '..' || /[/%]/.test(name) ? '' : name;
  } catch (error) {
    if (error instanceof StatusError) return '';
    throw error;
  }
}
