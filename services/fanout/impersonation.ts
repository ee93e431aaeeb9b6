import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders } from 'node:http';
import { badRequest, forbidden, internalError, StatusError } from '@dogwatch/kube/status.ts';
import type { AccessAttributes, Authorizer } from './authorize.ts';
import type { User } from './user.ts';

export interface ImpersonationRequest {
  /** Who is authenticated. */
  readonly user: User;
  /** `impersonate-*` as arrays, one entry per line: see Exchange. */
  readonly headers: IncomingHttpHeaders;
  readonly authorizer: Pick<Authorizer, 'authorize'>;
}

/**
 * Upstream's plain verb `impersonate` does not allow it, or dogwatch does not know what is meant. Upstream itself may
 * still: since 1.36 it also knows constrained impersonation (KEP-5284), which depends on the request, and it passes
 * over headers of the family it does not know; so such a request may be forwarded as it is.
 */
export class ImpersonationForbidden extends StatusError {
  override readonly name = 'ImpersonationForbidden';
}

const PREFIX = 'impersonate-';
const EXTRA_PREFIX = 'impersonate-extra-';
/** Each value costs a SubjectAccessReview. */
const MAX_VALUES = 64;
const AUTHENTICATION_GROUP = 'authentication.k8s.io';
const AUTHENTICATED = 'system:authenticated';
const UNAUTHENTICATED = 'system:unauthenticated';
const ANONYMOUS = 'system:anonymous';

/** What the headers ask for, before anything is added. */
interface Wanted {
  readonly name: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: ReadonlyMap<string, readonly string[]>;
}

/**
 * The user that a request acts as; undefined if it does not impersonate. Each name, group, UID and extra value is
 * authorized one by one, as in kube-apiserver (endpoints/filters/impersonation). Rejects with ImpersonationForbidden
 * (403; 400 without a user; 500 for a header of the family that is not known here, which may mean anything),
 * StatusError (400, 431), or ReviewUnavailable.
 */
export async function authorizeImpersonation({
  user,
  headers,
  authorizer,
}: ImpersonationRequest): Promise<User | undefined> {
  const wanted = readWanted(headers);
  if (wanted === undefined) return undefined;
  for (const attributes of questionsOf(wanted)) {
    const decision = await authorizer.authorize(user, attributes);
    if (!decision.allowed) throw new ImpersonationForbidden(forbidden(attributes, user.name, decision.reason));
  }
  const groups = groupsOf(wanted);
  return { name: wanted.name, uid: wanted.uid, groups, extra: Object.fromEntries(wanted.extra) };
}

function readWanted(headers: IncomingHttpHeaders): Wanted | undefined {
  const extra = new Map<string, readonly string[]>();
  let name = '';
  let uid = '';
  let groups: readonly string[] = [];
  let count = 0;
  for (const header in headers) {
    if (!header.startsWith(PREFIX)) continue;
    const values = [headers[header] ?? []].flat().map((value) => textOf(header, value));
    count += values.length;
    if (header === 'impersonate-user') name = values[0] ?? '';
    else if (header === 'impersonate-uid') uid = values[0] ?? '';
    else if (header === 'impersonate-group') groups = values;
    else if (header.startsWith(EXTRA_PREFIX)) {
      const key = unescaped(header.slice(EXTRA_PREFIX.length));
      extra.set(key, [...(extra.get(key) ?? []), ...values]);
    } else throw new ImpersonationForbidden(internalError(`unknown impersonation header ${JSON.stringify(header)}`));
  }
  if (count > MAX_VALUES) {
    const message = `more than ${MAX_VALUES} values in impersonation headers`;
    throw new StatusError({ status: 'Failure', message, reason: 'RequestHeaderFieldsTooLarge', code: 431 });
  }
  if (name !== '') return { name, uid, groups, extra };
  if (uid === '' && groups.length === 0 && extra.size === 0) return undefined;
  throw new ImpersonationForbidden(
    badRequest('requested a group, UID or extra field without impersonating a user name'),
  );
}

function* questionsOf({ name, uid, groups, extra }: Wanted): Generator<AccessAttributes> {
  const account = serviceAccountOf(name);
  if (account === undefined) yield question({ resource: 'users', name });
  else yield question({ resource: 'serviceaccounts', ...account });
  if (uid !== '') yield question({ group: AUTHENTICATION_GROUP, resource: 'uids', name: uid });
  for (const group of groups) yield question({ resource: 'groups', name: group });
  for (const [key, values] of extra) {
    for (const value of values) {
      yield question({ group: AUTHENTICATION_GROUP, resource: 'userextras', subresource: key, name: value });
    }
  }
}

function question(about: Partial<AccessAttributes>): AccessAttributes {
  return {
    isResourceRequest: true,
    verb: 'impersonate',
    path: '',
    group: '',
    version: 'v1',
    resource: '',
    subresource: '',
    namespace: '',
    name: '',
    fieldSelector: '',
    labelSelector: '',
    ...about,
  };
}

/** The groups asked for, else those of a service account; and the one that says whether the user is known. */
function groupsOf({ name, groups }: Wanted): readonly string[] {
  const account = serviceAccountOf(name);
  const own =
    groups.length === 0 && account !== undefined
      ? ['system:serviceaccounts', `system:serviceaccounts:${account.namespace}`]
      : groups;
  if (own.includes(UNAUTHENTICATED)) return own;
  if (name === ANONYMOUS) return [...own, UNAUTHENTICATED];
  return own.includes(AUTHENTICATED) ? own : [...own, AUTHENTICATED];
}

/** `system:serviceaccount:NAMESPACE:NAME`, if both are legal names. */
function serviceAccountOf(user: string): { readonly namespace: string; readonly name: string } | undefined {
  const [system, kind, namespace = '', name = '', ...more] = user.split(':');
  if (system !== 'system' || kind !== 'serviceaccount' || more.length > 0) return undefined;
  const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
  if (namespace.length > 63 || !label.test(namespace)) return undefined;
  if (name.length > 253 || !name.split('.').every((part) => label.test(part))) return undefined;
  return { namespace, name };
}

/** Node reads header bytes as Latin-1; names are UTF-8. */
function textOf(header: string, value: string): string {
  const bytes = Buffer.from(value, 'latin1');
  if (!isUtf8(bytes)) throw new StatusError(badRequest(`${header} is not UTF-8`));
  return bytes.toString('utf8');
}

function unescaped(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch (error) {
    // As in upstream, a key that is not properly escaped is taken as it is.
    if (error instanceof URIError) return key;
    throw error;
  }
}
