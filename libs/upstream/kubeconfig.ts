import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { LineCounter, parseDocument } from 'yaml';
import { type ClusterAccess } from './cluster-access.ts';
import { KubeconfigError } from './kubeconfig-error.ts';
import { Fields } from './kubeconfig-fields.ts';
import { parseCluster, parseUser } from './kubeconfig-stanza.ts';

/** Where a pod finds its service account. */
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
const MAX_KUBECONFIG_BYTES = 4 * 1024 * 1024;

export interface KubeconfigOptions {
  /** This file and no other. */
  readonly path?: string;
  /** Default: current-context. */
  readonly context?: string;
  /** KUBECONFIG, KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT and HOME are read from it. */
  readonly env: NodeJS.ProcessEnv;
  readonly serviceAccountDirectory?: string;
}

/**
 * How to reach the cluster: `path`, else $KUBECONFIG (a list of files, merged as kubectl does), else the pod's service
 * account, else ~/.kube/config. Throws KubeconfigError.
 */
export async function loadKubeconfig(options: KubeconfigOptions): Promise<ClusterAccess> {
  const { path, context, env, serviceAccountDirectory = SERVICE_ACCOUNT } = options;
  if (path !== undefined) return access([await requireFile(resolve(path))], context);
  const listed = (env['KUBECONFIG'] ?? '').split(delimiter).filter((entry) => entry !== '');
  if (listed.length > 0) {
    const files = await readFiles(listed);
    if (files.length > 0) return access(files, context);
    throw new KubeconfigError(
      'not_found',
      `KUBECONFIG names no file that exists (${listed.join(', ')}): correct or unset it`,
    );
  }
  if (context === undefined) {
    const inCluster = await inClusterAccess(env, serviceAccountDirectory);
    if (inCluster !== undefined) return inCluster;
  }
  const standard = join(env['HOME'] ?? homedir(), '.kube', 'config');
  const files = await readFiles([standard]);
  if (files.length > 0) return access(files, context);
  throw new KubeconfigError(
    'not_found',
    `found no cluster: ${standard} does not exist, KUBECONFIG is not set and no service account is mounted in ` +
      `${serviceAccountDirectory}. Pass --kubeconfig FILE`,
  );
}

interface KubeconfigFile {
  readonly path: string;
  readonly root: Fields;
}

async function readFiles(paths: readonly string[]): Promise<KubeconfigFile[]> {
  const files = await Promise.all(paths.map((path) => readKubeconfigFile(resolve(path))));
  return files.filter((file) => file !== undefined);
}

async function requireFile(path: string): Promise<KubeconfigFile> {
  const file = await readKubeconfigFile(path);
  if (file === undefined) throw new KubeconfigError('not_found', `kubeconfig ${path} does not exist`);
  return file;
}

/** Undefined if there is no such file. */
async function readKubeconfigFile(path: string): Promise<KubeconfigFile | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw new KubeconfigError(
      'unreadable',
      `cannot read kubeconfig ${path}: check that it is a file and its permissions`,
      {
        cause: error,
      },
    );
  }
  if (text.length > MAX_KUBECONFIG_BYTES) {
    throw new KubeconfigError('unreadable', `kubeconfig ${path} is larger than ${MAX_KUBECONFIG_BYTES} bytes`);
  }
  const lineCounter = new LineCounter();
  // Pretty errors would quote the source, and with it a token.
  const document = parseDocument(text, { prettyErrors: false, lineCounter });
  const problem = document.errors[0];
  if (problem !== undefined) {
    const { line } = lineCounter.linePos(problem.pos[0]);
    throw new KubeconfigError('invalid_yaml', `kubeconfig ${path} is not valid YAML: ${problem.code} in line ${line}`);
  }
  const root = new Fields({ value: toPlain(document, path), where: path, directory: dirname(path) });
  return { path, root };
}

function toPlain(document: ReturnType<typeof parseDocument>, path: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    throw new KubeconfigError('invalid_yaml', `kubeconfig ${path} is not valid YAML: its aliases cannot be resolved`, {
      cause: error,
    });
  }
}

/** What kubectl makes of several files: the first to define a name, or the current context, wins. */
function access(files: readonly KubeconfigFile[], wanted: string | undefined): ClusterAccess {
  const contextName =
    wanted ?? files.map(({ root }) => root.string('current-context')).find((name) => name !== undefined);
  const where = files.map(({ path }) => path).join(', ');
  if (contextName === undefined) {
    throw new KubeconfigError('no_context', `${where} has no current-context: set one, or pass --context NAME`);
  }
  const context = stanza(files, { list: 'contexts', kind: 'context', name: contextName });
  if (context === undefined) {
    const known = files.flatMap(({ root }) => root.children('contexts')).map((entry) => entry.string('name'));
    throw new KubeconfigError(
      'unknown_context',
      `${where} has no context "${contextName}": it has ${known.length === 0 ? 'none' : known.slice(0, 20).join(', ')}`,
    );
  }
  const clusterName = context.string('cluster');
  if (clusterName === undefined) throw context.invalid('cluster', 'is missing');
  const cluster = stanza(files, { list: 'clusters', kind: 'cluster', name: clusterName });
  if (cluster === undefined) {
    throw new KubeconfigError(
      'unknown_cluster',
      `${context.where} names cluster "${clusterName}", which is not defined`,
    );
  }
  const userName = context.string('user');
  const user =
    userName === undefined
      ? new Fields({ value: {}, where: `the empty user of ${context.where}`, directory: '/' })
      : stanza(files, { list: 'users', kind: 'user', name: userName });
  if (user === undefined) {
    throw new KubeconfigError('unknown_user', `${context.where} names user "${userName}", which is not defined`);
  }
  const { execConfig, ...rest } = parseCluster(cluster);
  return { source: context.where, ...rest, user: parseUser(user, execConfig) };
}

function stanza(
  files: readonly KubeconfigFile[],
  { list, kind, name }: { list: string; kind: string; name: string },
): Fields | undefined {
  for (const { path, root } of files) {
    const entry = root.children(list).find((candidate) => candidate.string('name') === name);
    if (entry === undefined) continue;
    return new Fields({ value: entry.raw(kind), where: `${kind} "${name}" in ${path}`, directory: dirname(path) });
  }
  return undefined;
}

async function inClusterAccess(env: NodeJS.ProcessEnv, directory: string): Promise<ClusterAccess | undefined> {
  const host = env['KUBERNETES_SERVICE_HOST'] ?? '';
  const port = env['KUBERNETES_SERVICE_PORT'] ?? '';
  if (host === '' || port === '') return undefined;
  const tokenFile = join(directory, 'token');
  try {
    await readFile(tokenFile);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw new KubeconfigError(
      'unreadable',
      `cannot read the service account token ${tokenFile}: check its permissions`,
      {
        cause: error,
      },
    );
  }
  const address = `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
  if (!URL.canParse(address)) {
    throw new KubeconfigError(
      'invalid_field',
      'KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT do not make an address',
    );
  }
  return {
    source: 'in-cluster',
    server: new URL(address),
    tlsServerName: undefined,
    insecureSkipTlsVerify: false,
    certificateAuthority: { kind: 'file', path: join(directory, 'ca.crt') },
    user: { token: undefined, tokenFile, basic: undefined, certificate: undefined, exec: undefined },
  };
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
