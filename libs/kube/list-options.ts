import { parseGoDuration } from './go-duration.ts';
import { goQuote, int64Problem, uint64Problem } from './go-strconv.ts';
import type { QueryParameters } from './query-parameters.ts';
import { SelectorSyntaxError } from './selector-syntax-error.ts';
import { type FieldSelector, type LabelSelector, parseFieldSelector, parseLabelSelector } from './selector.ts';
import { badRequest, type InvalidField, invalid, type StatusBody, StatusError, unexplainedError } from './status.ts';

/** What a LIST or WATCH asks for, decoded and defaulted as upstream does (protocol rows G1, W2). */
export interface ListOptions {
  readonly labelSelector: LabelSelector;
  readonly fieldSelector: FieldSelector;
  /** The `watch` parameter. A request under `/watch/` watches without it: see ApiRequest.legacyWatchPrefix. */
  readonly watch: boolean;
  readonly allowWatchBookmarks: boolean;
  /** As sent: "" if absent. */
  readonly resourceVersion: string;
  /** As sent, or NotOlderThan by row W2. */
  readonly resourceVersionMatch: string;
  /** Seconds, as sent: may be 0 or negative. */
  readonly timeoutSeconds: number | undefined;
  /** 0 or negative: no limit. */
  readonly limit: number;
  readonly continue: string;
  /** As sent, or true by row W2; undefined if absent. */
  readonly sendInitialEvents: boolean | undefined;
  /** As sent. Upstream ignores it while its gate ShardedListAndWatch is off. */
  readonly shardSelector: string;
}

/** What a GET asks for. */
export interface GetOptions {
  readonly resourceVersion: string;
}

const NOT_OLDER_THAN = 'NotOlderThan';

/**
 * Decodes the query of a LIST or WATCH. Throws StatusError (400, upstream's text) for what cannot be decoded; what can
 * be decoded but not served is for validateListOptions.
 */
export function parseListOptions(query: QueryParameters): ListOptions {
  // In upstream's order: of several errors the first is told.
  const timeoutSeconds = integer(query, 'timeoutSeconds');
  const limit = integer(query, 'limit') ?? 0;
  const labelSelector = parseSelector(parseLabelSelector, query.get('labelSelector'));
  const fieldSelector = parseSelector(parseFieldSelector, query.get('fieldSelector'));
  const watch = wantsWatch(query);
  const resourceVersion = query.get('resourceVersion') ?? '';
  const match = query.get('resourceVersionMatch') ?? '';
  const sendInitialEvents = query.get('sendInitialEvents');
  const legacy = watch && sendInitialEvents === undefined && match === '' && ['', '0'].includes(resourceVersion);
  return {
    labelSelector,
    fieldSelector,
    watch,
    allowWatchBookmarks: truth(query.get('allowWatchBookmarks')) ?? false,
    resourceVersion,
    resourceVersionMatch: legacy ? NOT_OLDER_THAN : match,
    timeoutSeconds,
    limit,
    continue: query.get('continue') ?? '',
    sendInitialEvents: legacy ? true : truth(sendInitialEvents),
    shardSelector: query.get('shardSelector') ?? '',
  };
}

/** True if the `watch` parameter says so: any value but `0` and `false`, also none (`?watch`). */
export function wantsWatch(query: QueryParameters): boolean {
  return truth(query.get('watch')) ?? false;
}

/** Upstream cannot fail on a bool. */
function truth(value: string | undefined): boolean | undefined {
  return value === undefined ? undefined : value !== '0' && value.toLowerCase() !== 'false';
}

function integer(query: QueryParameters, name: string): number | undefined {
  const text = query.get(name);
  if (text === undefined) return undefined;
  const problem = int64Problem(text);
  if (problem !== undefined) throw new StatusError(badRequest(problem));
  return Number(text);
}

function parseSelector<Selector>(parse: (text: string) => Selector, text: string | undefined): Selector {
  try {
    return parse(text ?? '');
  } catch (error) {
    if (error instanceof SelectorSyntaxError) throw new StatusError(badRequest(error.message), { cause: error });
    throw error;
  }
}

/** Decodes the query of a GET. Throws StatusError (400) if it asks for an export (row O4). */
export function parseGetOptions(query: QueryParameters): GetOptions {
  if (truth(query.get('export')) === true) {
    throw new StatusError(badRequest('the export parameter, deprecated since v1.14, is no longer supported'));
  }
  return { resourceVersion: query.get('resourceVersion') ?? '' };
}

/** The 422 for options that do not go together (rows G3, L6, W1), or undefined if they do. */
export function validateListOptions(options: ListOptions): StatusBody | undefined {
  const problems = options.watch ? watchProblems(options) : listProblems(options);
  return problems.length === 0 ? undefined : invalid({ group: 'meta.k8s.io', kind: 'ListOptions' }, '', problems);
}

function listProblems(options: ListOptions): readonly InvalidField[] {
  const problems: InvalidField[] = [];
  const match = options.resourceVersionMatch;
  if (match !== '') {
    if (options.resourceVersion === '') {
      problems.push(matchForbidden('resourceVersionMatch is forbidden unless resourceVersion is provided'));
    }
    if (options.continue !== '')
      problems.push(matchForbidden('resourceVersionMatch is forbidden when continue is provided'));
    if (match !== 'Exact' && match !== NOT_OLDER_THAN)
      problems.push(matchNotSupported(match, ['Exact', NOT_OLDER_THAN, '']));
    if (match === 'Exact' && options.resourceVersion === '0') {
      problems.push(matchForbidden('resourceVersionMatch "exact" is forbidden for resourceVersion "0"'));
    }
  }
  if (options.sendInitialEvents !== undefined) {
    problems.push(forbiddenField('sendInitialEvents', 'sendInitialEvents is forbidden for list'));
  }
  return problems;
}

function watchProblems(options: ListOptions): readonly InvalidField[] {
  const problems: InvalidField[] = [];
  const match = options.resourceVersionMatch;
  if (options.sendInitialEvents !== undefined && match !== NOT_OLDER_THAN) {
    problems.push(matchForbidden(`sendInitialEvents requires setting resourceVersionMatch to ${NOT_OLDER_THAN}`));
  }
  if (match === '') return problems;
  if (options.sendInitialEvents === undefined) {
    problems.push(matchForbidden('resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided'));
  }
  if (match !== NOT_OLDER_THAN) problems.push(matchNotSupported(match, [NOT_OLDER_THAN]));
  if (options.continue !== '')
    problems.push(matchForbidden('resourceVersionMatch is forbidden when continue is provided'));
  return problems;
}

function forbiddenField(field: string, text: string): InvalidField {
  return { field, reason: 'FieldValueForbidden', problem: `Forbidden: ${text}` };
}

function matchForbidden(text: string): InvalidField {
  return forbiddenField('resourceVersionMatch', text);
}

function matchNotSupported(match: string, supported: readonly string[]): InvalidField {
  const problem = `Unsupported value: ${goQuote(match)}: supported values: ${supported.map(goQuote).join(', ')}`;
  return { field: 'resourceVersionMatch', reason: 'FieldValueNotSupported', problem };
}

/** Row L18: the 400 for a field selector beside a name, unless it selects that name too. */
export function nameConflict(options: ListOptions, name: string): StatusBody | undefined {
  if (name === '' || options.fieldSelector.empty || options.fieldSelector.exactValue('metadata.name') === name)
    return undefined;
  return badRequest("fieldSelector metadata.name doesn't match requested name");
}

/** Row L7: the 400 for a LIST that goes on at a version of its own. Upstream says this only of a token it can read. */
export function continueConflict(options: ListOptions): StatusBody | undefined {
  if (options.continue === '' || ['', '0'].includes(options.resourceVersion)) return undefined;
  return badRequest('specifying resource version is not allowed when using continue');
}

/**
 * Row L9: what upstream 1.37 says of a resourceVersion that is no unsigned 64-bit integer, or undefined if it is one
 * or absent: a 400 to a LIST, an unexplained 500 to GET and WATCH. A LIST with `continue` never reads it.
 */
export function invalidResourceVersion(
  resourceVersion: string,
  verb: 'get' | 'list' | 'watch',
): StatusBody | undefined {
  const problem = resourceVersion === '' ? undefined : uint64Problem(resourceVersion);
  if (problem === undefined) return undefined;
  const text = `resourceVersion: Invalid value: ${goQuote(resourceVersion)}: ${problem}`;
  return verb === 'list' ? badRequest(`invalid resource version: ${text}`) : unexplainedError(text);
}

/**
 * Row L22: how long a request that is not a watch may take, in seconds. `timeout` is honoured between 0 and `maximum`
 * (upstream's --request-timeout). Throws StatusError (400), which upstream sends before it authenticates.
 */
export function requestTimeoutSeconds(query: QueryParameters, maximum = 60): number {
  const text = query.get('timeout') ?? '';
  if (text === '') return maximum;
  const duration = parseGoDuration(text);
  if ('problem' in duration) {
    throw new StatusError(badRequest(`invalid timeout specified in the request URL - ${duration.problem}`));
  }
  return duration.seconds > 0 && duration.seconds < maximum ? duration.seconds : maximum;
}
