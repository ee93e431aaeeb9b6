import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '@dogwatch/process/log.ts';
import { requestJson } from '@dogwatch/upstream/request-json.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';

const PATH = '/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication';
const TIMEOUT_MS = 10_000;

/** The authorities cannot be kept in a file; the message says what to do. */
export class ClientCaUnwritable extends Error {
  override readonly name = 'ClientCaUnwritable';
  readonly code = 'client_ca_unwritable';
}

/**
 * File with the authorities kube-apiserver itself takes client certificates from, which it publishes for servers that
 * stand beside it. It is named after what is in it: a second dogwatch that keeps its certificates in the same directory
 * must not change whom this one trusts. Undefined where kube-apiserver takes none, or dogwatch may not read them:
 * certificates then name nobody. Rejects with ClientCaUnwritable.
 */
export async function findClientCa(upstream: Upstream, directory: string, log: Log): Promise<string | undefined> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const { status, body } = await requestJson(upstream, { path: PATH, signal, timeoutMs: TIMEOUT_MS });
  const pem = status === 200 ? (body as { data?: Record<string, string> }).data?.['client-ca-file'] : undefined;
  if (pem === undefined) {
    log.info({ status }, 'no client certificates: give --client-ca-file to take them');
    return undefined;
  }
  const digest = createHash('sha256').update(pem).digest('hex').slice(0, 32);
  const file = join(directory, `client-ca-${digest}.crt`);
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await writeFile(file, pem);
  } catch (cause) {
    const message = `cannot keep the client authorities of kube-apiserver in ${directory}: make it writable, or give --client-ca-file`;
    throw new ClientCaUnwritable(message, { cause });
  }
  log.info({ file }, 'client certificates are taken from the authorities upstream publishes');
  return file;
}
