import {
  badRequest,
  serviceUnavailable,
  type StatusBody,
  StatusError,
  tooManyRequests,
} from '@dogwatch/kube/status.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { KubeconfigError } from '@dogwatch/upstream/kubeconfig-error.ts';
import { UpstreamBusy, UpstreamUnreachable } from '@dogwatch/upstream/upstream-error.ts';
import { ReviewUnavailable } from './reviewer.ts';

const RETRY_AFTER_SECONDS = 1;
/** A failure of one kind is logged once in this time, with the number of those that were not. */
const LOG_INTERVAL_MS = 5_000;
/** What node:http throws for a request that HTTP/1.1 cannot carry. */
const UNSENDABLE: ReadonlySet<string> = new Set([
  'ERR_HTTP_INVALID_HEADER_VALUE',
  'ERR_INVALID_CHAR',
  'ERR_INVALID_HTTP_TOKEN',
  'ERR_UNESCAPED_CHARACTERS',
]);
/** Methods that change nothing (RFC 9110 9.2.1). */
const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/**
 * What a client is told when its request got no answer from upstream. Retry-After is an invitation (client-go follows
 * it for every method), so it is given only if the request did nothing.
 */
export function failureStatus(error: unknown, method: string): StatusBody {
  if (error instanceof StatusError) return error.status;
  if (error instanceof UpstreamBusy) {
    return tooManyRequests('dogwatch is forwarding too many requests, please try again later', RETRY_AFTER_SECONDS);
  }
  if (error instanceof UpstreamUnreachable || error instanceof KubeconfigError) {
    return serviceUnavailable('dogwatch cannot reach kube-apiserver', RETRY_AFTER_SECONDS);
  }
  if (UNSENDABLE.has(codeOf(error))) return badRequest('the request has characters that HTTP/1.1 cannot carry');
  if (SAFE.has(method)) {
    return serviceUnavailable('kube-apiserver closed the connection before it answered', RETRY_AFTER_SECONDS);
  }
  return serviceUnavailable(
    'kube-apiserver closed the connection before it answered; the request may have been carried out',
  );
}

/** Upstream answered 401 to dogwatch, not to the caller, whose credential is in order; nothing was done. */
export function ownCredentialRefused(): StatusBody {
  return serviceUnavailable("kube-apiserver does not accept dogwatch's own credential", RETRY_AFTER_SECONDS);
}

/** Logs failures of upstream, not of clients, and not every one of a flood. */
export class FailureLog {
  readonly #log: Log;
  /** By code: when it was last logged and how many were not since. Codes are few. */
  readonly #kinds = new Map<string, { at: number; suppressed: number }>();

  constructor(log: Log) {
    this.#log = log;
  }

  record(error: unknown, method: string): void {
    const review = error instanceof ReviewUnavailable;
    const code = review ? error.message : codeOf(error);
    if ((error instanceof StatusError && !review) || UNSENDABLE.has(code)) return;
    const kind = this.#kinds.get(code) ?? { at: Number.NEGATIVE_INFINITY, suppressed: 0 };
    this.#kinds.set(code, kind);
    const now = performance.now();
    if (now - kind.at < LOG_INTERVAL_MS) {
      kind.suppressed += 1;
      return;
    }
    const what = review ? 'request could not be verified' : 'request could not be forwarded';
    this.#log.warn({ err: error, code, method, suppressed: kind.suppressed }, what);
    kind.at = now;
    kind.suppressed = 0;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
