import type { ClientRequest, IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';

/** A streamed answer of kube-apiserver. */
export interface UpstreamResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /**
   * Identity-encoded bytes. Ends only where upstream ended it; anything else (lost connection, abort of the
   * request's signal) is an 'error' and destroys it. Destroying it cancels the request upstream.
   */
  readonly body: Readable;
}

export interface UpstreamRequest {
  /** Default GET. */
  readonly method?: string;
  /** Path and query. */
  readonly path: string;
  /** Lower case names. */
  readonly headers?: Record<string, string>;
  readonly body?: Buffer | string;
  readonly signal: AbortSignal;
  /** Default true: dogwatch's own credential is added. False: only what `headers` hold, on a connection of nobody. */
  readonly ownCredential?: boolean;
}

/**
 * Whose connection a request travels on. kube-apiserver looks at the client certificate before it looks at any
 * header, so a request that must not be dogwatch's ('none') may never share a connection with one that is ('own').
 */
export type TransportIdentity = 'own' | 'none';

export interface ForwardRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly identity: TransportIdentity;
  /** True for a protocol upgrade: a connection of its own, never a pooled one. Default false. */
  readonly upgrade?: boolean;
}

/** kube-apiserver as dogwatch sees it: pooled HTTP/2 for watches and reviews, HTTP/1.1 for everything forwarded. */
export interface Upstream {
  readonly server: URL;
  /**
   * Opens a request and resolves at its response head. Rejects with UpstreamUnreachable if no connection can be had,
   * UpstreamBusy at the pool's bound, UpstreamInterrupted if the connection broke before the head, KubeconfigError if
   * the own credential cannot be had, and the signal's reason.
   */
  open(request: UpstreamRequest): Promise<UpstreamResponse>;
  /**
   * A raw HTTP/1.1 request for the reverse proxy; adds no header but Host and Connection. The caller owns it: errors
   * are emitted on it, UpstreamUnreachable among them. Throws UpstreamBusy at the bound on requests in flight, and
   * TypeError for a method, path or header that HTTP/1.1 cannot carry.
   */
  forward(request: ForwardRequest): ClientRequest;
  /** The headers of dogwatch's own credential ({} for a client certificate, which every 'own' connection carries). */
  ownHeaders(): Promise<Record<string, string>>;
  /** Says that upstream answered 401 to the own credential: the next request reads it anew where it can change. */
  ownCredentialRefused(): void;
  close(): void;
}
