import type { Http2ServerRequest } from 'node:http2';
import { ANONYMOUS, type Attributes, isAllowed, type SimulatedUser, userOfToken } from './simulated-access.ts';
import { header } from './simulated-http.ts';
import { StatusError } from './simulated-status.ts';

/** Who a request is from, impersonation included. Throws StatusError 401 or 403. */
export function authenticate(request: Http2ServerRequest): SimulatedUser {
  const authorization = header(request, 'authorization');
  const user = authorization === undefined ? ANONYMOUS : userOfToken(authorization.replace(/^Bearer +/i, ''));
  if (user === undefined) throw new StatusError(401, { reason: 'Unauthorized', message: 'Unauthorized' });
  const impersonated = header(request, 'impersonate-user');
  if (impersonated === undefined) return user;
  if (user.name !== 'dogwatch' && user.name !== 'admin') throw forbiddenPath(user, 'impersonation');
  const groups = request.headers['impersonate-group'];
  return { name: impersonated, groups: [...(groups === undefined ? [] : [groups].flat()), 'system:authenticated'] };
}

/** Throws StatusError 403 in upstream's words. */
export function authorize(user: SimulatedUser, wanted: Attributes): void {
  if (isAllowed(user, wanted)) return;
  const { group, resource, namespace, name, verb } = wanted;
  const place = namespace === '' ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  const what = name === '' ? resource : `${resource}${group === '' ? '' : `.${group}`} "${name}"`;
  throw new StatusError(
    403,
    {
      reason: 'Forbidden',
      message: `${what} is forbidden: User "${user.name}" cannot ${verb} resource "${resource}" in API group "${group}" ${place}`,
      details: { ...(name === '' ? {} : { name }), ...(group === '' ? {} : { group }), kind: resource },
    },
    { 'x-content-type-options': 'nosniff' },
  );
}

/** 403 for a path outside the API. */
export function forbiddenPath(user: SimulatedUser, path: string): StatusError {
  const message = `forbidden: User "${user.name}" cannot get path "${path}"`;
  return new StatusError(403, { reason: 'Forbidden', message, details: {} }, { 'x-content-type-options': 'nosniff' });
}

/** The verb of a request that is no watch. */
export function verbOf(method: string, name: string): string {
  const verbs: Record<string, string> = { POST: 'create', PUT: 'update', DELETE: 'delete', PATCH: 'patch' };
  return verbs[method] ?? (name === '' ? 'list' : 'get');
}

/** The authorizer sees the name of `fieldSelector=metadata.name=x` (protocol L17). */
export function nameIn(fieldSelector: string): string {
  return /(?:^|,)metadata\.name==?([^,]+)/.exec(fieldSelector)?.[1] ?? '';
}
