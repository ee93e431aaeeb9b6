/** Why no connection could be had; stable, for metrics and tests. */
export type UnreachableCode =
  | 'refused'
  | 'unknown_host'
  | 'no_route'
  | 'timeout'
  | 'connection_lost'
  | 'certificate_untrusted'
  | 'certificate_name'
  | 'certificate_expired'
  | 'tls_failed'
  | 'closed';

const ADVICE: Record<UnreachableCode, string> = {
  refused: 'nothing listens there: check that kube-apiserver runs and that the address and port are right',
  unknown_host: 'the name does not resolve: check the host name and DNS',
  no_route: 'there is no route: check the network and firewalls between dogwatch and kube-apiserver',
  timeout: 'no answer in time: check the network, firewalls and the load on kube-apiserver',
  connection_lost:
    'the connection was closed before it was ready: check that this port speaks the protocol in the address',
  certificate_untrusted:
    'its certificate is not signed by the known authority: check certificate-authority in the kubeconfig',
  certificate_name: 'its certificate is for other names: use one of its names as the address, or set tls-server-name',
  certificate_expired: 'its certificate is not valid now: renew it, or check the clocks',
  tls_failed: 'TLS failed: check that this port speaks TLS 1.2 or newer',
  closed: 'dogwatch is shutting down',
};

const CODES: Readonly<Record<string, UnreachableCode>> = {
  ECONNREFUSED: 'refused',
  ENOTFOUND: 'unknown_host',
  EAI_AGAIN: 'unknown_host',
  EAI_NODATA: 'unknown_host',
  EHOSTUNREACH: 'no_route',
  ENETUNREACH: 'no_route',
  EADDRNOTAVAIL: 'no_route',
  ETIMEDOUT: 'timeout',
  ECONNRESET: 'connection_lost',
  EPIPE: 'connection_lost',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'certificate_untrusted',
  SELF_SIGNED_CERT_IN_CHAIN: 'certificate_untrusted',
  UNABLE_TO_GET_ISSUER_CERT: 'certificate_untrusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'certificate_untrusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'certificate_untrusted',
  CERT_SIGNATURE_FAILURE: 'certificate_untrusted',
  CERT_UNTRUSTED: 'certificate_untrusted',
  INVALID_CA: 'certificate_untrusted',
  ERR_TLS_CERT_ALTNAME_INVALID: 'certificate_name',
  CERT_HAS_EXPIRED: 'certificate_expired',
  CERT_NOT_YET_VALID: 'certificate_expired',
};

/** No connection to kube-apiserver could be had, so nothing of the request reached it: it may safely be sent again. */
export class UpstreamUnreachable extends Error {
  override readonly name = 'UpstreamUnreachable';
  readonly code: UnreachableCode;

  /** `host`: host:port, as the message names it. */
  constructor({ code, host, cause }: { code: UnreachableCode; host: string; cause?: unknown }) {
    super(`cannot reach kube-apiserver at ${host}: ${ADVICE[code]}`, { cause });
    this.code = code;
  }

  /** The right code for what net or tls said. */
  static from(cause: unknown, host: string): UpstreamUnreachable {
    const code = systemCode(cause);
    return new UpstreamUnreachable({
      code: CODES[code] ?? (isTls(code) ? 'tls_failed' : 'connection_lost'),
      host,
      cause,
    });
  }
}

/** A bound on connections or requests in flight is reached; nothing was sent. Try again later. */
export class UpstreamBusy extends Error {
  override readonly name = 'UpstreamBusy';
  readonly code = 'upstream_busy';
}

/** The connection broke after the request was sent and before the answer was complete; its effect is unknown. */
export class UpstreamInterrupted extends Error {
  override readonly name = 'UpstreamInterrupted';
  readonly code = 'upstream_interrupted';
}

function systemCode(cause: unknown): string {
  return cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
}

function isTls(code: string): boolean {
  return code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_') || code === 'EPROTO';
}
