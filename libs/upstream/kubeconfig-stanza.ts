import { type ClusterAccess, type ClusterUser, EXEC_EXTENSION, type ExecPlugin } from './cluster-access.ts';
import { KubeconfigError } from './kubeconfig-error.ts';
import { type Fields } from './kubeconfig-fields.ts';

const EXEC_VERSIONS: readonly ExecPlugin['apiVersion'][] = [
  'client.authentication.k8s.io/v1',
  'client.authentication.k8s.io/v1beta1',
];

type ClusterStanza = Omit<ClusterAccess, 'source' | 'user'> & {
  /** For exec plugins that ask for it. */
  readonly execConfig: unknown;
};

/** A `cluster` stanza. Throws KubeconfigError for what is malformed or not supported. */
export function parseCluster(cluster: Fields): ClusterStanza {
  if (cluster.has('proxy-url')) {
    throw new KubeconfigError(
      'unsupported',
      `proxy-url of ${cluster.where} is not supported: run dogwatch where it reaches kube-apiserver directly`,
    );
  }
  const insecureSkipTlsVerify = cluster.boolean('insecure-skip-tls-verify');
  const certificateAuthority = cluster.pem('certificate-authority');
  if (insecureSkipTlsVerify && certificateAuthority !== undefined) {
    throw new KubeconfigError(
      'conflicting_fields',
      `${cluster.where} has both insecure-skip-tls-verify and certificate-authority: remove one (the former)`,
    );
  }
  const extension = cluster.children('extensions').find((entry) => entry.raw('name') === EXEC_EXTENSION);
  return {
    server: parseServer(cluster),
    tlsServerName: cluster.string('tls-server-name'),
    insecureSkipTlsVerify,
    certificateAuthority,
    execConfig: extension?.raw('extension'),
  };
}

function parseServer(cluster: Fields): URL {
  const text = cluster.string('server');
  if (text === undefined) throw cluster.invalid('server', 'is missing');
  // As kubectl: an address without a scheme is plain http.
  const address = text.includes('://') ? text : `http://${text}`;
  if (!URL.canParse(address)) throw cluster.invalid('server', 'is not a URL');
  const server = new URL(address);
  if (server.protocol !== 'https:' && server.protocol !== 'http:') {
    throw cluster.invalid('server', 'must begin with https:// or http://');
  }
  if (server.username !== '' || server.password !== '') {
    throw cluster.invalid('server', 'must not hold a user name or password: put them into the user stanza');
  }
  if (server.search !== '' || server.hash !== '') throw cluster.invalid('server', 'must not hold a query or fragment');
  return server;
}

/** A `user` stanza. Throws KubeconfigError for what is malformed or not supported. */
export function parseUser(user: Fields, clusterConfig: unknown): ClusterUser {
  refuseUnsupported(user);
  const token = user.string('token');
  const tokenFile = user.path('tokenFile');
  const username = user.string('username');
  if (username !== undefined && (token !== undefined || tokenFile !== undefined)) {
    throw new KubeconfigError(
      'conflicting_fields',
      `${user.where} has both a token and a username: remove the one that is not meant`,
    );
  }
  const certificate = user.pem('client-certificate');
  const key = user.pem('client-key');
  if ((certificate === undefined) !== (key === undefined)) {
    const missing = certificate === undefined ? 'client-certificate' : 'client-key';
    throw user.invalid(missing, 'is missing: a certificate and its key go together');
  }
  const exec = user.child('exec');
  return {
    token,
    tokenFile,
    basic: username === undefined ? undefined : { username, password: user.string('password') ?? '' },
    certificate: certificate === undefined || key === undefined ? undefined : { certificate, key },
    exec: exec === undefined ? undefined : parseExec(exec, clusterConfig),
  };
}

function refuseUnsupported(user: Fields): void {
  if (user.has('auth-provider')) {
    throw new KubeconfigError(
      'unsupported',
      `auth-provider of ${user.where} is not supported (Kubernetes removed it in 1.26): use an exec plugin instead`,
    );
  }
  const impersonation = ['as', 'as-uid', 'as-groups', 'as-user-extra'].find((name) => user.has(name));
  if (impersonation === undefined) return;
  throw new KubeconfigError(
    'unsupported',
    `${impersonation} of ${user.where} is not supported: dogwatch impersonates its callers, so it needs a user of its own`,
  );
}

function parseExec(exec: Fields, clusterConfig: unknown): ExecPlugin {
  const command = exec.string('command');
  if (command === undefined) throw exec.invalid('command', 'is missing');
  const version = exec.string('apiVersion');
  const apiVersion = EXEC_VERSIONS.find((known) => known === version);
  if (apiVersion === undefined) {
    throw exec.invalid('apiVersion', `must be ${EXEC_VERSIONS.join(' or ')}: update the plugin or its entry`);
  }
  if (exec.string('interactiveMode') === 'Always') {
    throw new KubeconfigError('unsupported', `${exec.where} is interactive only: dogwatch has no terminal to give it`);
  }
  return {
    apiVersion,
    // As client-go: a bare name is found in PATH, everything else is relative to the kubeconfig.
    command: /[/\\]/.test(command) ? (exec.path('command') ?? command) : command,
    args: exec.strings('args'),
    env: exec.children('env').map((entry) => {
      const name = entry.string('name');
      if (name === undefined) throw entry.invalid('name', 'is missing');
      return { name, value: entry.string('value') ?? '' };
    }),
    installHint: exec.string('installHint'),
    interactiveMode: exec.string('interactiveMode') === 'Never' ? 'Never' : 'IfAvailable',
    provideClusterInfo: exec.boolean('provideClusterInfo'),
    clusterConfig,
  };
}
