import { randomBytes } from 'node:crypto';

/** A user of kube-apiserver's static token file. */
export interface TokenUser {
  readonly name: string;
  readonly groups: readonly string[];
  readonly token: string;
}

/** admin may do everything, nobody nothing, dogwatch what dogwatch asks for; one user per kubelet besides. */
export function tokenUsers(nodes: readonly string[]): ReadonlyMap<string, TokenUser> {
  const users = [
    user('admin', ['system:masters']),
    user('nobody', []),
    user('dogwatch', []),
    ...nodes.map((node) => user(`system:node:${node}`, ['system:nodes'])),
  ];
  return new Map(users.map((entry) => [entry.name, entry]));
}

function user(name: string, groups: readonly string[]): TokenUser {
  return { name, groups, token: randomBytes(16).toString('hex') };
}

/** The lines of `--token-auth-file`. */
export function tokenFile(users: Iterable<TokenUser>): string {
  return [...users].map(({ token, name, groups }) => `${token},${name},uid-${name},"${groups.join(',')}"\n`).join('');
}

/** What dogwatch needs upstream and no more: to read, to ask who and whether, and to act for certificate users. */
export const DOGWATCH_ROLE = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRole',
  metadata: { name: 'dogwatch' },
  rules: [
    { apiGroups: ['*'], resources: ['*'], verbs: ['get', 'list', 'watch'] },
    { nonResourceURLs: ['*'], verbs: ['get'] },
    { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
    { apiGroups: ['authorization.k8s.io'], resources: ['subjectaccessreviews'], verbs: ['create'] },
    { apiGroups: [''], resources: ['users', 'groups', 'serviceaccounts'], verbs: ['impersonate'] },
    { apiGroups: ['authentication.k8s.io'], resources: ['*'], verbs: ['impersonate'] },
  ],
};

export const DOGWATCH_BINDING = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRoleBinding',
  metadata: { name: 'dogwatch' },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'dogwatch' },
  subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'dogwatch' }],
};

/** kube-apiserver's audit log records what dogwatch itself asks for, and nothing else. */
export const AUDIT_POLICY = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [{ level: 'Metadata', users: ['dogwatch'], verbs: ['list', 'watch'] }, { level: 'None' }],
};

/** One line of the audit log, as far as tests read it. */
export interface AuditEvent {
  readonly stage: 'ResponseStarted' | 'ResponseComplete' | 'Panic';
  readonly auditID: string;
  readonly requestURI: string;
  readonly verb: string;
  readonly requestReceivedTimestamp: string;
  readonly stageTimestamp: string;
  readonly impersonatedUser?: { readonly username: string };
  readonly responseStatus?: { readonly code: number };
}

/** What dogwatch asked for on its own behalf (not for an impersonated user), oldest first. */
export function parseAuditLog(text: string): AuditEvent[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as AuditEvent)
    .filter(({ impersonatedUser }) => impersonatedUser === undefined);
}
