import { get } from 'node:https';
import { buffer } from 'node:stream/consumers';
import type { Endpoint } from '@dogwatch/test/support/kube-client.ts';

export interface BytesAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Buffer;
}

/** One GET whose body is no text; a watch must end by itself. */
export function getBytes(
  { server, ca }: Endpoint,
  { token, path, accept }: { token: string; path: string; accept: string },
): Promise<BytesAnswer> {
  const headers = { accept, authorization: `Bearer ${token}` };
  return new Promise((resolve, reject) => {
    const request = get(new URL(path, server), { ca, headers, agent: false }, (response) => {
      const { statusCode = 0, headers: answered } = response;
      buffer(response).then(
        (body) => resolve({ status: statusCode, contentType: answered['content-type'] ?? '', body }),
        reject,
      );
    });
    request.on('error', reject);
  });
}
