import { findResource, type SimulatedResource } from './simulated-resources.ts';
import { BadSelector, parseFieldSelector, parseLabelSelector, type Scope } from './simulated-selector.ts';
import { badRequest, invalidOptions, StatusError } from './simulated-status.ts';
import type { Wire } from './simulated-view.ts';

/** A request for a served resource, as read from its path. */
export interface ResourcePath {
  readonly resource: SimulatedResource;
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
  /** The deprecated `/watch/` prefix (protocol W3). */
  readonly watchPrefix: boolean;
}

const CORE = /^\/api\/(?<version>v1)\/(?<rest>.+)$/;
const GROUP = /^\/apis\/(?<group>[^/]+)\/(?<version>[^/]+)\/(?<rest>.+)$/;

/** Reads a path; undefined if it is not one of a served resource. */
export function parseResourcePath(path: string): ResourcePath | undefined {
  const groups = (CORE.exec(path) ?? GROUP.exec(path))?.groups;
  if (groups === undefined) return undefined;
  let parts = (groups['rest'] ?? '').split('/').map(decodeURIComponent);
  const watchPrefix = parts[0] === 'watch';
  if (watchPrefix) parts = parts.slice(1);
  let namespace = '';
  if (parts[0] === 'namespaces' && parts.length > 2 && parts[2] !== 'status' && parts[2] !== 'finalize') {
    namespace = parts[1] ?? '';
    parts = parts.slice(2);
  }
  const [plural = '', name = '', ...subresource] = parts;
  const resource = findResource({ group: groups['group'] ?? '', version: groups['version'] ?? '', resource: plural });
  if (resource === undefined || (namespace !== '' && !resource.namespaced)) return undefined;
  return { resource, namespace, name, subresource: subresource.join('/'), watchPrefix };
}

/** The list options of a query, checked as upstream checks them (protocol 1.2 and 1.4). */
export interface ListOptions {
  readonly watch: boolean;
  /** "" if not given. */
  readonly resourceVersion: string;
  readonly match: '' | 'Exact' | 'NotOlderThan';
  readonly initialEvents: boolean;
  readonly bookmarks: boolean;
  readonly timeoutSeconds: number;
  readonly limit: number;
  readonly continueToken: string;
  readonly scope: Scope;
  /** The raw selector, for authorization. */
  readonly fieldSelector: string;
}

/** Throws StatusError: 400, 422 or (an undecodable version of a watch, L9) 500. */
export function parseListOptions(target: ResourcePath, query: URLSearchParams): ListOptions {
  const get = (name: string) => query.get(name) ?? '';
  const watch = target.watchPrefix || isTrue(query, 'watch');
  const resourceVersion = get('resourceVersion');
  const match = get('resourceVersionMatch');
  const initial = query.has('sendInitialEvents') ? isTrue(query, 'sendInitialEvents') : undefined;
  const asList = !watch || target.watchPrefix;
  checkOptions({ watch: !asList, resourceVersion, match, initial, continueToken: get('continue') });
  checkVersion(watch, resourceVersion);
  const consistent = resourceVersion === '' || resourceVersion === '0';
  const fieldSelector = get('fieldSelector');
  return {
    watch,
    resourceVersion,
    match: match as ListOptions['match'],
    // W2: a watch without a version is a watch-list without asking.
    initialEvents: initial ?? (!asList && match === '' && consistent),
    bookmarks: isTrue(query, 'allowWatchBookmarks'),
    timeoutSeconds: integer(query, 'timeoutSeconds'),
    limit: integer(query, 'limit'),
    continueToken: get('continue'),
    scope: parseScope(target, get('labelSelector'), fieldSelector),
    fieldSelector,
  };
}

function parseScope(target: ResourcePath, labelSelector: string, fieldSelector: string): Scope {
  try {
    return {
      ...(target.namespace === '' ? {} : { namespace: target.namespace }),
      ...(target.name === '' ? {} : { name: target.name }),
      labels: parseLabelSelector(labelSelector),
      fields: parseFieldSelector(fieldSelector, target.resource),
    };
  } catch (error) {
    if (error instanceof BadSelector) throw badRequest(error.message);
    throw error;
  }
}

/** As upstream decodes booleans: everything but "false" and "0" is true. */
export function isTrue(query: URLSearchParams, name: string): boolean {
  const value = query.get(name)?.toLowerCase();
  return value !== undefined && value !== 'false' && value !== '0';
}

function integer(query: URLSearchParams, name: string): number {
  const value = query.get(name) ?? '0';
  if (!/^\d{1,15}$/.test(value)) throw badRequest(`strconv.ParseInt: parsing "${value}": invalid syntax`);
  return Number(value);
}

function checkVersion(watch: boolean, resourceVersion: string): void {
  if (/^\d*$/.test(resourceVersion)) return;
  const text = `resourceVersion: Invalid value: "${resourceVersion}": strconv.ParseUint: parsing "${resourceVersion}": invalid syntax`;
  throw watch ? new StatusError(500, { message: text }) : badRequest(`invalid resource version: ${text}`);
}

interface OptionsToCheck {
  readonly watch: boolean;
  readonly resourceVersion: string;
  readonly match: string;
  readonly initial: boolean | undefined;
  readonly continueToken: string;
}

function checkOptions({ watch, resourceVersion, match, initial, continueToken }: OptionsToCheck): void {
  const causes: { reason: string; message: string; field: string }[] = [];
  const forbid = (field: string, text: string) =>
    causes.push({ reason: 'FieldValueForbidden', message: `Forbidden: ${text}`, field });
  const unsupported = (supported: string) =>
    causes.push({
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: ${JSON.stringify(match)}: supported values: ${supported}`,
      field: 'resourceVersionMatch',
    });
  if (watch) {
    if (initial !== undefined && match !== 'NotOlderThan') {
      forbid('resourceVersionMatch', 'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan');
    }
    if (initial === undefined && match !== '')
      forbid(
        'resourceVersionMatch',
        'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
      );
    if (match !== '' && match !== 'NotOlderThan') unsupported('"NotOlderThan"');
  } else {
    if (initial !== undefined) forbid('sendInitialEvents', 'sendInitialEvents is forbidden for list');
    if (match !== '' && resourceVersion === '') {
      forbid('resourceVersionMatch', 'resourceVersionMatch is forbidden unless resourceVersion is provided');
    }
    if (match !== '' && continueToken !== '') {
      forbid('resourceVersionMatch', 'resourceVersionMatch is forbidden when continue is provided');
    }
    if (!['', 'Exact', 'NotOlderThan'].includes(match)) unsupported('"Exact", "NotOlderThan", ""');
    if (match === 'Exact' && resourceVersion === '0') {
      forbid('resourceVersionMatch', 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
    }
  }
  if (causes.length > 0) throw invalidOptions(causes);
}

/** The first acceptable form of an Accept header. `protobuf`: it is offered too. Throws StatusError 406. */
export function negotiate(accept: string | undefined, { list, protobuf }: { list: boolean; protobuf: boolean }): Wire {
  for (const part of (accept ?? '*/*').split(',')) {
    const [type = '', ...parameters] = part.split(';').map((text) => text.trim());
    const encoding = encodingOf(type, protobuf);
    if (encoding === undefined) continue;
    const as = parameters.find((text) => text.startsWith('as='))?.slice(3);
    if (as === undefined) return { encoding, view: 'object' };
    if (as === (list ? 'PartialObjectMetadataList' : 'PartialObjectMetadata')) return { encoding, view: 'metadata' };
  }
  const types = protobuf ? `${JSON_TYPE}, ${PROTOBUF_TYPE}` : JSON_TYPE;
  throw new StatusError(406, {
    reason: 'NotAcceptable',
    message: `only the following media types are accepted: ${types}`,
  });
}

const JSON_TYPE = 'application/json';
const PROTOBUF_TYPE = 'application/vnd.kubernetes.protobuf';

function encodingOf(type: string, protobuf: boolean): Wire['encoding'] | undefined {
  if (['*/*', 'application/*', JSON_TYPE, ''].includes(type)) return 'json';
  return protobuf && type === PROTOBUF_TYPE ? 'protobuf' : undefined;
}
