import { goQuote } from './go-strconv.ts';

export interface StatusCause {
  readonly reason?: string;
  readonly message?: string;
  readonly field?: string;
}

export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly StatusCause[];
  readonly retryAfterSeconds?: number;
}

/** metav1.Status without its kind and apiVersion, which are always Status and v1. Empty strings and zeros are absent. */
export interface StatusBody {
  readonly metadata?: { readonly continue?: string };
  readonly status: 'Success' | 'Failure';
  readonly message?: string;
  readonly reason?: string;
  /** An empty object is written as `{}`, as upstream does for some. */
  readonly details?: StatusDetails;
  readonly code?: number;
}

/** An answer to a client, thrown: whoever owns the exchange sends `status`, in the client's encoding, with `headers`. */
export class StatusError extends Error {
  readonly code = 'StatusError';
  readonly status: StatusBody;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: StatusBody, options?: ErrorOptions) {
    super(status.message ?? '', options);
    this.status = status;
    this.headers = statusHeaders(status);
  }
}

/** The headers upstream sends with a status beside Content-Type: Retry-After, and nosniff with a denial (row G5). */
export function statusHeaders({ details, reason }: StatusBody): Readonly<Record<string, string>> {
  const retryAfter = details?.retryAfterSeconds ?? 0;
  return {
    ...(retryAfter > 0 ? { 'retry-after': String(retryAfter) } : {}),
    ...(reason === 'Forbidden' ? { 'x-content-type-options': 'nosniff' } : {}),
  };
}

interface GroupResource {
  readonly group: string;
  readonly resource: string;
}

/** What was asked, as an authorizer sees it. */
export interface DeniedAttributes extends GroupResource {
  readonly isResourceRequest: boolean;
  readonly path: string;
  readonly verb: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
}

/** `pods`, or `deployments.apps`. */
function qualified({ group, resource }: GroupResource): string {
  return group === '' ? resource : `${resource}.${group}`;
}

function failure(code: number, reason: string, message: string, details?: StatusDetails): StatusBody {
  return { status: 'Failure', message, reason, ...(details === undefined ? {} : { details }), code };
}

/** Row G4. */
export function unauthorized(): StatusBody {
  return failure(401, 'Unauthorized', 'Unauthorized');
}

/** Row G5: what `user` may not do and, if the authorizer said so, why. */
export function forbidden(attributes: DeniedAttributes, user: string, reason: string): StatusBody {
  const { group, resource, name } = attributes;
  // Upstream keeps a denial from looking like HTML; `reason` and the part in front are not touched.
  const denial = deniedText(attributes, user).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  const because = reason === '' ? denial : `${denial}: ${reason}`;
  const what =
    group === '' && resource === '' ? '' : `${qualified(attributes)} ${name === '' ? '' : `${goQuote(name)} `}is `;
  return failure(403, 'Forbidden', `${what}forbidden: ${because}`, { name, group, kind: resource });
}

function deniedText(attributes: DeniedAttributes, user: string): string {
  const { verb, path, group, resource, subresource, namespace } = attributes;
  const who = `User ${goQuote(user)} cannot ${verb}`;
  if (!attributes.isResourceRequest) return `${who} path ${goQuote(path)}`;
  const what = `resource ${goQuote(subresource === '' ? resource : `${resource}/${subresource}`)}`;
  const where = namespace === '' ? 'at the cluster scope' : `in the namespace ${goQuote(namespace)}`;
  return `${who} ${what} in API group ${goQuote(group)} ${where}`;
}

/** Row G6. */
export function notFound(type: GroupResource, name: string): StatusBody {
  const message = `${qualified(type)} ${goQuote(name)} not found`;
  return failure(404, 'NotFound', message, { name, group: type.group, kind: type.resource });
}

/** A 404 for a path under a known group and version that names no resource, as upstream's router answers it. */
export function notFoundPath(): StatusBody {
  return failure(404, 'NotFound', 'the server could not find the requested resource', {});
}

export function badRequest(message: string): StatusBody {
  return failure(400, 'BadRequest', message);
}

/** A field that failed validation: `problem` is a cause's message, such as `Forbidden: …`. */
export interface InvalidField {
  readonly field: string;
  readonly reason: 'FieldValueForbidden' | 'FieldValueNotSupported' | 'FieldValueInvalid';
  readonly problem: string;
}

/** Row G3, for a group and kind such as meta.k8s.io and ListOptions. */
export function invalid(
  type: { group: string; kind: string },
  name: string,
  fields: readonly InvalidField[],
): StatusBody {
  const texts = [...new Set(fields.map(({ field, problem }) => `${field}: ${problem}`))];
  const all = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  const kind = type.group === '' ? type.kind : `${type.kind}.${type.group}`;
  return failure(422, 'Invalid', `${kind} ${goQuote(name)} is invalid: ${all}`, {
    name,
    group: type.group,
    kind: type.kind,
    causes: fields.map(({ field, reason, problem }) => ({ reason, message: problem, field })),
  });
}

/** Row G9; upstream's router sends empty details, its handlers none. */
export function notAcceptable(message: string, details?: StatusDetails): StatusBody {
  return failure(406, 'NotAcceptable', message, details);
}

export function tooManyRequests(message: string, retryAfterSeconds: number): StatusBody {
  return failure(429, 'TooManyRequests', message, { retryAfterSeconds });
}

/** Row G11: a lane that has been without its cache for `downSeconds`. */
export function storageInitializing(downSeconds: number): StatusBody {
  const retryAfter = Math.floor(Math.min(30, Math.max(1, Math.exp(0.06 * downSeconds))));
  return tooManyRequests('storage is (re)initializing', retryAfter);
}

/** Row G12: no answer within the deadline. Sent untyped, see untypedStatusJson. */
export function timedOut(): StatusBody {
  return failure(504, 'Timeout', 'Timeout: request did not complete within the allotted timeout', {});
}

/** Row L10: asked for at least `asked` while the newest known is `current`. Decimal texts, because `asked` may be any uint64. */
export function tooLargeResourceVersion(asked: string, current: string, retryAfterSeconds = 1): StatusBody {
  return failure(504, 'Timeout', `Timeout: Too large resource version: ${asked}, current: ${current}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    ...(retryAfterSeconds === 0 ? {} : { retryAfterSeconds }),
  });
}

/** What was asked for is not held any more, or not here. */
export function expired(message: string): StatusBody {
  return failure(410, 'Expired', message);
}

/** Row W8: a watch from `asked`, of which everything up to and including `oldest - 1` is forgotten. */
export function tooOldToWatch(asked: string, oldest: number): StatusBody {
  return expired(`too old resource version: ${asked} (${oldest - 1})`);
}

/** The same of a resource that upstream keeps no watch cache of (row W9). */
export function tooOldForStore(): StatusBody {
  return expired('The resourceVersion for the provided watch is too old.');
}

/** Row L11. */
export function tooOldToList(): StatusBody {
  return expired('The resourceVersion for the provided list is too old.');
}

const CONTINUE_EXPIRED =
  'The provided continue parameter is too old to display a consistent list result. ' +
  'You can start a new list without the continue parameter';

/** Row L12: `token` goes on with the newest state, for clients that can do with an inconsistent list. */
export function continueExpired(token: string | undefined): StatusBody {
  if (token === undefined) return expired(`${CONTINUE_EXPIRED}.`);
  const inconsistent =
    ', or use the continue token in this response to retrieve the remainder of the results. ' +
    'Continuing with the provided token results in an inconsistent list - objects that were created, ' +
    'modified, or deleted between the time the first chunk was returned and now may show up in the list.';
  return { ...expired(`${CONTINUE_EXPIRED}${inconsistent}`), metadata: { continue: token } };
}

/** A 500 for an error of our own; `message` must not hold secrets. */
export function internalError(message: string): StatusBody {
  return failure(500, 'InternalError', `Internal error occurred: ${message}`, { causes: [{ message }] });
}

/** Row L9: upstream's 500 for errors it has no reason for. */
export function unexplainedError(message: string): StatusBody {
  return { status: 'Failure', message, code: 500 };
}

/** Upstream cannot be asked, or this server is going away. */
export function serviceUnavailable(message: string, retryAfterSeconds?: number): StatusBody {
  return failure(
    503,
    'ServiceUnavailable',
    message,
    retryAfterSeconds === undefined ? undefined : { retryAfterSeconds },
  );
}
