import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { type Readable } from 'node:stream';
import { type ClusterAccess, type ExecPlugin } from './cluster-access.ts';
import { KubeconfigError } from './kubeconfig-error.ts';

/** A plugin that has not answered by then is killed. */
const TIMEOUT_MS = 60_000;
const MAX_OUTPUT_BYTES = 1024 * 1024;

/** What a plugin gave. */
export interface ExecCredential {
  readonly token: string | undefined;
  readonly certificate: { readonly certificate: Buffer; readonly key: Buffer } | undefined;
  /** Milliseconds since 1970; undefined: good until it is refused. */
  readonly expiresAt: number | undefined;
}

export interface RunExecPluginOptions {
  readonly plugin: ExecPlugin;
  readonly access: ClusterAccess;
  /** Environment the plugin's own is added to. */
  readonly env: NodeJS.ProcessEnv;
}

/**
 * Runs a credential plugin as client-go does (KEP-541): KUBERNETES_EXEC_INFO in, an ExecCredential on standard output;
 * its standard error is ours. Throws KubeconfigError.
 */
export async function runExecPlugin({ plugin, access, env }: RunExecPluginOptions): Promise<ExecCredential> {
  const info = await execInfo(plugin, access);
  const child = spawn(plugin.command, [...plugin.args], {
    env: {
      ...env,
      ...Object.fromEntries(plugin.env.map(({ name, value }) => [name, value])),
      KUBERNETES_EXEC_INFO: JSON.stringify(info),
    },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  const { code, signal, output } = await finished(child, plugin);
  if (output.length > MAX_OUTPUT_BYTES) throw invalidOutput(plugin, `is larger than ${MAX_OUTPUT_BYTES} bytes`);
  if (code !== 0) {
    const how =
      code === null
        ? `was killed by ${signal ?? 'a signal'} (it has ${TIMEOUT_MS / 1000} s)`
        : `exited with code ${code}`;
    throw new KubeconfigError(
      'exec_failed',
      `credential plugin ${plugin.command} ${how}: run it by hand to see why${hint(plugin)}`,
    );
  }
  return parseExecCredential(plugin, output.toString('utf8'));
}

interface Finished {
  readonly code: number | null;
  readonly signal: string | null;
  readonly output: Buffer;
}

function finished(child: ChildProcessByStdio<null, Readable, null>, plugin: ExecPlugin): Promise<Finished> {
  const chunks: Buffer[] = [];
  let size = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    size += chunk.length;
    if (size > MAX_OUTPUT_BYTES) child.kill('SIGKILL');
  });
  // A killed wrapper script may leave a child behind that holds the pipe open.
  child.once('exit', (_code, signal) => signal !== null && child.stdout.destroy());
  return new Promise((resolve, reject) => {
    child.once('error', (cause) => reject(notStarted(plugin, cause)));
    child.once('close', (code, signal) => resolve({ code, signal, output: Buffer.concat(chunks) }));
  });
}

async function execInfo(plugin: ExecPlugin, access: ClusterAccess): Promise<unknown> {
  const spec = { interactive: false };
  if (!plugin.provideClusterInfo) return { apiVersion: plugin.apiVersion, kind: 'ExecCredential', spec };
  const { certificateAuthority: authority } = access;
  const pem = authority?.kind === 'file' ? await readFile(authority.path) : authority?.pem;
  const cluster = {
    server: access.server.href.replace(/\/$/, ''),
    'tls-server-name': access.tlsServerName,
    'insecure-skip-tls-verify': access.insecureSkipTlsVerify || undefined,
    'certificate-authority-data': pem?.toString('base64'),
    config: plugin.clusterConfig ?? null,
  };
  return { apiVersion: plugin.apiVersion, kind: 'ExecCredential', spec: { ...spec, cluster } };
}

function parseExecCredential(plugin: ExecPlugin, output: string): ExecCredential {
  let parsed: unknown;
  try {
    parsed = JSON.parse(output);
  } catch {
    // The cause would quote the output, which may hold the credential.
    throw invalidOutput(plugin, 'is not JSON');
  }
  const { apiVersion, kind, status } = (parsed ?? {}) as Partial<Record<'apiVersion' | 'kind' | 'status', unknown>>;
  if (kind !== 'ExecCredential' || apiVersion !== plugin.apiVersion) {
    throw invalidOutput(plugin, `is not an ExecCredential of ${plugin.apiVersion}, the apiVersion in the kubeconfig`);
  }
  const { token, clientCertificateData, clientKeyData, expirationTimestamp } = (status ?? {}) as Record<
    string,
    unknown
  >;
  const certificate = isText(clientCertificateData) ? Buffer.from(clientCertificateData) : undefined;
  const key = isText(clientKeyData) ? Buffer.from(clientKeyData) : undefined;
  if ((certificate === undefined) !== (key === undefined)) {
    throw invalidOutput(plugin, 'has a client certificate without its key, or the reverse');
  }
  if (!isText(token) && certificate === undefined)
    throw invalidOutput(plugin, 'has neither a token nor a client certificate');
  const expiresAt = isText(expirationTimestamp) ? Date.parse(expirationTimestamp) : undefined;
  if (Number.isNaN(expiresAt)) throw invalidOutput(plugin, 'has an expirationTimestamp that is not RFC 3339');
  return {
    token: isText(token) ? token : undefined,
    certificate: certificate === undefined || key === undefined ? undefined : { certificate, key },
    expiresAt,
  };
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function notStarted(plugin: ExecPlugin, cause: Error): KubeconfigError {
  const missing = 'code' in cause && cause.code === 'ENOENT';
  return new KubeconfigError(
    missing ? 'exec_not_found' : 'exec_failed',
    `credential plugin ${plugin.command} ${missing ? 'is not installed or not in PATH' : 'cannot be run: check its permissions'}${hint(plugin)}`,
    { cause },
  );
}

function invalidOutput(plugin: ExecPlugin, problem: string): KubeconfigError {
  return new KubeconfigError(
    'exec_invalid_output',
    `output of credential plugin ${plugin.command} ${problem}: update the plugin`,
  );
}

function hint({ installHint }: ExecPlugin): string {
  return installHint === undefined ? '' : `\n${installHint}`;
}
