import { decodeStatus } from '@dogwatch/kube/status-decoding.ts';
import { type StatusBody, StatusError, serviceUnavailable } from '@dogwatch/kube/status.ts';
import type { UpstreamResponse } from '@dogwatch/upstream/upstream.ts';

const BODY_BYTES_MAX = 1024 * 1024;
const PROTOBUF_MAGIC = Buffer.from('k8s\0');

/** The Status of a refusal; text answers (429 of priority and fairness, 404 of unknown paths) become one. */
export async function readStatus(response: UpstreamResponse): Promise<StatusBody> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of response.body as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > BODY_BYTES_MAX) break;
    parts.push(part);
  }
  const body = Buffer.concat(parts);
  return { ...parseStatus(body, response.status), code: response.status };
}

/** Why upstream could not be asked, as an answer to a client: any StatusError as it is, all else a 503. */
export function asStatusError(error: unknown): StatusError {
  return error instanceof StatusError ? error : unavailable(error);
}

/**
 * The same of a question dogwatch asked for itself: what upstream refuses to dogwatch (401, 403, 410) is no answer to
 * the client, who may have every right. 404 is one: the resource is gone.
 */
export function asUnavailable(error: unknown): StatusError {
  const code = error instanceof StatusError ? (error.status.code ?? 500) : 0;
  return error instanceof StatusError && (code === 404 || code === 429 || code >= 500) ? error : unavailable(error);
}

function unavailable(cause: unknown): StatusError {
  const status = serviceUnavailable('kube-apiserver did not answer dogwatch, please try again later', 1);
  return new StatusError(status, { cause });
}

function parseStatus(body: Buffer, code: number): StatusBody {
  if (body.subarray(0, 4).equals(PROTOBUF_MAGIC)) return decodeStatus('protobuf', body);
  const text = body.toString().trim();
  try {
    const parsed = JSON.parse(text) as StatusBody;
    if (typeof parsed === 'object' && parsed !== null && 'status' in parsed) return parsed;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return { status: 'Failure', message: text === '' ? `upstream answered ${code}` : text };
}
