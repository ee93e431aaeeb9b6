import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '@dogwatch/process/log.ts';
import { requestJson } from '@dogwatch/upstream/request-json.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';

const PATH = '/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication';
const TIMEOUT_MS = 10_000;

/**
 * File with the authorities kube-apiserver itself takes client certificates from, which it publishes for servers that
 * stand beside it. Undefined where it takes none, or dogwatch may not read them: certificates then name nobody.
 */
export async function findClientCa(upstream: Upstream, directory: string, log: Log): Promise<string | undefined> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const { status, body } = await requestJson(upstream, { path: PATH, signal, timeoutMs: TIMEOUT_MS });
  const pem = status === 200 ? (body as { data?: Record<string, string> }).data?.['client-ca-file'] : undefined;
  if (pem === undefined) {
    log.info({ status }, 'no client certificates: give --client-ca-file to take them');
    return undefined;
  }
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const file = join(directory, 'client-ca.crt');
  await writeFile(file, pem);
  log.info({ file }, 'client certificates are taken from the authorities upstream publishes');
  return file;
}
