import { type IncomingHttpHeaders } from 'node:http';
import { type Readable } from 'node:stream';
import { type Upstream } from './upstream.ts';

const MAX_BODY_BYTES = 8 * 1024 * 1024;
/** As kube-apiserver's own request timeout (H10). */
const TIMEOUT_MS = 60_000;

export interface JsonRequest {
  /** Default GET. */
  readonly method?: string;
  /** Path and query. */
  readonly path: string;
  /** Sent as JSON; undefined: none. */
  readonly body?: unknown;
  /** Lower case names. */
  readonly headers?: Record<string, string>;
  readonly signal: AbortSignal;
  /** For the whole exchange. Default 60 s. */
  readonly timeoutMs?: number;
  /** Default true. */
  readonly ownCredential?: boolean;
}

export interface JsonResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Parsed if upstream says that it is JSON, else the text (some errors are plain text: G7, G10). */
  readonly body: unknown;
}

/** An answer that cannot be used; whatever was asked has been done or not. */
export class JsonResponseError extends Error {
  override readonly name = 'JsonResponseError';
  readonly code: 'timeout' | 'too_large' | 'invalid_json';

  constructor(code: JsonResponseError['code'], message: string, options?: { cause: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/**
 * One small request and its whole answer, whatever its status. The body may have 8 MiB. Rejects with JsonResponseError
 * or what Upstream.open and its body give.
 */
export async function requestJson(upstream: Upstream, request: JsonRequest): Promise<JsonResponse> {
  const { method = 'GET', path, body, headers, signal, timeoutMs = TIMEOUT_MS, ownCredential = true } = request;
  const what = `${method} ${path.replace(/\?.*/, '')}`;
  const timeout = new AbortController();
  const timer = setTimeout(
    () =>
      timeout.abort(new JsonResponseError('timeout', `${what}: kube-apiserver did not answer within ${timeoutMs} ms`)),
    timeoutMs,
  );
  try {
    const response = await upstream.open({
      method,
      path,
      headers: {
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.any([signal, timeout.signal]),
      ownCredential,
    });
    const text = await readText(response.body, what);
    const json = (response.headers['content-type'] ?? '').includes('json');
    return { status: response.status, headers: response.headers, body: json ? parse(text, what) : text };
  } finally {
    clearTimeout(timer);
  }
}

async function readText(body: Readable, what: string): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length;
    // Leaving the loop destroys the body, which ends the request upstream.
    if (size > MAX_BODY_BYTES)
      throw new JsonResponseError('too_large', `${what}: the answer is larger than ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parse(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The cause would quote the body, which may be a Secret.
    throw new JsonResponseError('invalid_json', `${what}: the answer of kube-apiserver is not valid JSON`);
  }
}
