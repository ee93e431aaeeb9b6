import type { ClientRequest, IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';

/** A streamed answer of kube-apiserver. */
export interface UpstreamResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Identity-encoded bytes; destroyed when the request's signal aborts. Errors are emitted as 'error'. */
  readonly body: Readable;
}

export interface UpstreamRequest {
  readonly method?: string;
  /** Path and query. */
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body?: Buffer | string;
  readonly signal: AbortSignal;
  /** Default true: dogwatch's own credential is added. False: only what `headers` hold. */
  readonly ownCredential?: boolean;
}

/** kube-apiserver as dogwatch sees it: pooled HTTP/2 for watches and reviews, HTTP/1.1 for everything forwarded. */
export interface Upstream {
  readonly server: URL;
  /** Opens a request and resolves at its response head. Rejects with UpstreamUnreachable if no connection can be had. */
  open(request: UpstreamRequest): Promise<UpstreamResponse>;
  /** A raw HTTP/1.1 request for the reverse proxy; adds no header of its own. The caller owns it. */
  forward(options: { method: string; path: string; headers: OutgoingHttpHeaders }): ClientRequest;
  /** The headers of dogwatch's own credential ({} for a client certificate, which every connection carries). */
  ownHeaders(): Promise<Record<string, string>>;
  close(): void;
}
