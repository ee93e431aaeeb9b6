import { badRequest, StatusError } from '@dogwatch/kube/status.ts';
import { serverPrefix } from '@dogwatch/upstream/cluster-access.ts';
import type { TransportIdentity } from '@dogwatch/upstream/upstream.ts';
import type { Caller } from './user.ts';

/** The identity whose connections may carry requests of `caller`. */
export function transportIdentity({ credential }: Caller): TransportIdentity {
  return credential.kind === 'impersonate' ? 'own' : 'none';
}

/** Refuses targets that would mean something else upstream than here. Throws StatusError 400 or 405. */
export function checkTarget({ method, url }: { method: string; url: string }, server: URL): void {
  if (method === 'CONNECT') {
    throw new StatusError({
      status: 'Failure',
      message: 'CONNECT is not supported',
      reason: 'MethodNotAllowed',
      code: 405,
    });
  }
  if (!url.startsWith('/')) throw new StatusError(badRequest('the request target must be an absolute path'));
  const [path = ''] = url.split('?', 1);
  // With a prefix (a cluster behind a multi-cluster proxy), dots could climb out of it.
  if (serverPrefix(server) !== '' && /[/\\](?:\.|%2e){1,2}(?:[/\\]|%2f|%5c|$)/i.test(path)) {
    throw new StatusError(badRequest('the path has dot segments'));
  }
}
