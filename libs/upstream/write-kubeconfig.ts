import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { stringify } from 'yaml';
import { type ClusterAccess, EXEC_EXTENSION, type ExecPlugin, type PemSource } from './cluster-access.ts';

/** The name of the context, cluster and user that are written. */
const NAME = 'dogwatch';

export interface WriteKubeconfigOptions {
  readonly path: string;
  /** Whose user is written: the same stanza, with absolute paths. */
  readonly access: ClusterAccess;
  /** Address of dogwatch. */
  readonly server: string;
  /** PEM of the authority that signed dogwatch's serving certificate. */
  readonly certificateAuthorityData: Buffer;
}

/** Writes a kubeconfig (mode 0600, replaced in one step) that points the user of `access` at dogwatch. */
export async function writeKubeconfig(options: WriteKubeconfigOptions): Promise<void> {
  const { path, access, server, certificateAuthorityData } = options;
  const text = stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': NAME,
    clusters: [
      {
        name: NAME,
        cluster: {
          server,
          'certificate-authority-data': certificateAuthorityData.toString('base64'),
          ...execExtension(access),
        },
      },
    ],
    contexts: [{ name: NAME, context: { cluster: NAME, user: NAME } }],
    users: [{ name: NAME, user: userStanza(access) }],
  });
  const temporary = `${path}.${randomUUID()}.tmp`;
  await mkdir(dirname(path), { recursive: true });
  try {
    await writeFile(temporary, text, { mode: 0o600, flag: 'wx' });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

function userStanza({ user }: ClusterAccess): Record<string, unknown> {
  const { token, tokenFile, basic, certificate, exec } = user;
  return {
    ...(token === undefined ? {} : { token }),
    ...(tokenFile === undefined ? {} : { tokenFile }),
    ...(basic === undefined ? {} : { username: basic.username, password: basic.password }),
    ...(certificate === undefined ? {} : pemFields('client-certificate', certificate.certificate)),
    ...(certificate === undefined ? {} : pemFields('client-key', certificate.key)),
    ...(exec === undefined ? {} : { exec: execStanza(exec) }),
  };
}

function execExtension({ user: { exec } }: ClusterAccess): Record<string, unknown> {
  if (exec?.clusterConfig === undefined) return {};
  return { extensions: [{ name: EXEC_EXTENSION, extension: exec.clusterConfig }] };
}

function pemFields(name: string, source: PemSource): Record<string, string> {
  return source.kind === 'file' ? { [name]: source.path } : { [`${name}-data`]: source.pem.toString('base64') };
}

function execStanza(exec: ExecPlugin): Record<string, unknown> {
  return {
    apiVersion: exec.apiVersion,
    command: exec.command,
    args: [...exec.args],
    env: exec.env.map(({ name, value }) => ({ name, value })),
    ...(exec.installHint === undefined ? {} : { installHint: exec.installHint }),
    interactiveMode: exec.interactiveMode,
    provideClusterInfo: exec.provideClusterInfo,
  };
}
