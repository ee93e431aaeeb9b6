/** A user of the simulated upstream. */
export interface SimulatedUser {
  readonly name: string;
  readonly groups: readonly string[];
}

/** What a request, or a SubjectAccessReview, asks to do. */
export interface Attributes {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  /** The raw field selector, "" if none. */
  readonly fieldSelector: string;
}

const AUTHENTICATED = 'system:authenticated';
export const ANONYMOUS: SimulatedUser = { name: 'system:anonymous', groups: ['system:unauthenticated'] };

/** Token to user: "admin", "dogwatch" (may do everything), "node-NAME" (a kubelet) and "nobody" (may do nothing). */
export function userOfToken(token: string): SimulatedUser | undefined {
  if (token === 'admin') return { name: 'admin', groups: ['system:masters', AUTHENTICATED] };
  if (token === 'dogwatch') return { name: 'dogwatch', groups: [AUTHENTICATED] };
  if (token === 'nobody') return { name: 'nobody', groups: [AUTHENTICATED] };
  if (/^node-[a-z0-9-]{1,60}$/.test(token)) {
    return { name: `system:node:${token}`, groups: ['system:nodes', AUTHENTICATED] };
  }
  return undefined;
}

/** Whether the user may: masters and dogwatch everything, kubelets what is theirs, everybody a review of themselves. */
export function isAllowed(user: SimulatedUser, wanted: Attributes): boolean {
  if (user.name === 'dogwatch' || user.groups.includes('system:masters')) return true;
  if (!user.groups.includes(AUTHENTICATED)) return false;
  if (wanted.verb === 'create' && wanted.resource.startsWith('selfsubject')) return true;
  return user.groups.includes('system:nodes') && isAllowedForNode(user.name.replace('system:node:', ''), wanted);
}

/** Paths outside the API that anybody may read (system:public-info-viewer) or only authenticated users (discovery). */
export function isPathAllowed(user: SimulatedUser, path: string): boolean {
  if (/^\/(version|healthz|livez|readyz)(\/|$)/.test(path)) return true;
  if (user.groups.includes('system:masters') || user.name === 'dogwatch') return true;
  return user.groups.includes(AUTHENTICATED) && /^\/(api|apis)(\/|$)/.test(path);
}

const READ = ['get', 'list', 'watch'];
/** Objects a kubelet may read only when it names one. */
const BY_NAME = new Set(['secrets', 'configmaps', 'persistentvolumes', 'persistentvolumeclaims', 'serviceaccounts']);

/** After the Node authorizer: a kubelet lists pods with its own spec.nodeName only (protocol W18). */
function isAllowedForNode(node: string, wanted: Attributes): boolean {
  const named = wanted.name !== '' || /(^|,)metadata\.name==?[^,]/.test(wanted.fieldSelector);
  const own = wanted.name === node || wanted.fieldSelector === `metadata.name=${node}`;
  if (wanted.resource === 'leases') return own && wanted.namespace === 'kube-node-lease';
  if (wanted.resource === 'nodes' || wanted.resource === 'csinodes') {
    return READ.includes(wanted.verb) ? own : own && wanted.verb !== 'delete';
  }
  if (wanted.resource === 'events') return wanted.verb !== 'list' && wanted.verb !== 'watch';
  if (!READ.includes(wanted.verb)) return false;
  if (wanted.resource === 'pods') return wanted.name !== '' || wanted.fieldSelector === `spec.nodeName=${node}`;
  // The demo's kubelets watch the configmaps of one namespace whole, which real ones may not.
  if (wanted.resource === 'configmaps' && wanted.namespace === 'demo') return true;
  return !BY_NAME.has(wanted.resource) || named;
}
