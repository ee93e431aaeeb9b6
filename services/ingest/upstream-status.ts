import { decodeStatus } from '@dogwatch/kube/status-decoding.ts';
import type { StatusBody } from '@dogwatch/kube/status.ts';
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
