import type { X509Certificate } from 'node:crypto';
import { type CertificateExtensions, readExtensions } from './certificate-extensions.ts';
import { MalformedDer } from './der.ts';
import { CLIENT_AUTH } from './make-certificate.ts';

export type CertificateErrorCode =
  | 'expired'
  | 'not_yet_valid'
  | 'unknown_authority'
  | 'not_an_authority'
  | 'path_too_long'
  | 'not_for_clients'
  | 'weak_signature'
  | 'unknown_critical_extension'
  | 'malformed'
  | 'invalid_uid';

/** A presented certificate is not good. For logs and metrics: to the client it is a plain 401. */
export class CertificateError extends Error {
  override readonly name = 'CertificateError';
  readonly code: CertificateErrorCode;

  constructor(code: CertificateErrorCode, options?: { cause: unknown }) {
    super(`client certificate refused: ${code.replaceAll('_', ' ')}`, options);
    this.code = code;
  }
}

/** Most intermediates between a client's certificate and the known authority. */
const MAX_INTERMEDIATES = 5;
/** Signature checks for one chain, as Go's verifier; a hostile bundle of look-alikes costs no more. */
const MAX_SIGNATURE_CHECKS = 100;
const ANY_USAGE = '2.5.29.37.0';
/** RSA, RSA-PSS and ECDSA with SHA-2, and Ed25519: neither SHA-1 nor MD5. */
const SIGNATURES = new Set([
  '1.2.840.113549.1.1.10',
  '1.2.840.113549.1.1.11',
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
  '1.2.840.10045.4.3.2',
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
  '1.3.101.112',
]);

interface Search {
  readonly intermediates: readonly X509Certificate[];
  readonly authorities: readonly X509Certificate[];
  readonly nowMs: number;
  checksLeft: number;
  /** Why the most promising chain failed. */
  failure: CertificateError;
}

/**
 * The chain from a client's certificate over what it presented to one of `authorities`, verified by the rules of Go's
 * verifier as kube-apiserver uses it (crypto/x509, KeyUsages: ClientAuth): signatures, dates of every link, authority
 * flag, key usage and path length of issuers, extended key usages of every link. Name constraints are not evaluated, so
 * an authority that makes them critical is refused. Revocation is not checked, as upstream does not.
 * Throws CertificateError.
 */
export function verifyClientChain(
  presented: readonly [X509Certificate, ...X509Certificate[]],
  authorities: readonly X509Certificate[],
  nowMs: number,
): X509Certificate[] {
  const [leaf, ...intermediates] = presented;
  const search: Search = {
    intermediates,
    authorities,
    nowMs,
    checksLeft: MAX_SIGNATURE_CHECKS,
    failure: new CertificateError('unknown_authority'),
  };
  checkLink(leaf, nowMs);
  if (authorities.some((authority) => authority.raw.equals(leaf.raw))) return [leaf];
  const chain = extend([leaf], search);
  if (chain === undefined) throw search.failure;
  return chain;
}

function extend(chain: X509Certificate[], search: Search): X509Certificate[] | undefined {
  const child = chain.at(-1)!;
  for (const authority of search.authorities) {
    if (isIssuedBy(child, authority, chain.length - 1, search)) return [...chain, authority];
  }
  if (chain.length > MAX_INTERMEDIATES) return undefined;
  for (const intermediate of search.intermediates) {
    if (chain.some((link) => link.raw.equals(intermediate.raw))) continue;
    if (!isIssuedBy(child, intermediate, chain.length - 1, search)) continue;
    const longer = extend([...chain, intermediate], search);
    if (longer !== undefined) return longer;
  }
  return undefined;
}

/** Whether `issuer` signed `child` and may be used so with `below` intermediates under it; else notes why not. */
function isIssuedBy(child: X509Certificate, issuer: X509Certificate, below: number, search: Search): boolean {
  if (child.issuer !== issuer.subject || search.checksLeft === 0) return false;
  search.checksLeft -= 1;
  try {
    const { authority, pathLength, signsCertificates } = checkLink(issuer, search.nowMs);
    if (!authority || !signsCertificates) throw new CertificateError('not_an_authority');
    if (pathLength !== undefined && below > pathLength) throw new CertificateError('path_too_long');
    if (!SIGNATURES.has(child.signatureAlgorithmOid)) throw new CertificateError('weak_signature');
    return child.checkIssued(issuer) && child.verify(issuer.publicKey);
  } catch (error) {
    search.failure = error instanceof CertificateError ? error : new CertificateError('malformed', { cause: error });
    return false;
  }
}

/** What every certificate of a chain must satisfy. Throws CertificateError. */
function checkLink(certificate: X509Certificate, nowMs: number): CertificateExtensions {
  if (nowMs < certificate.validFromDate.getTime()) throw new CertificateError('not_yet_valid');
  if (nowMs > certificate.validToDate.getTime()) throw new CertificateError('expired');
  const extensions = extensionsOf(certificate);
  if (extensions.unknownCritical.length > 0) throw new CertificateError('unknown_critical_extension');
  const usages = extensions.extendedKeyUsages;
  if (usages !== undefined && !usages.includes(CLIENT_AUTH) && !usages.includes(ANY_USAGE)) {
    throw new CertificateError('not_for_clients');
  }
  return extensions;
}

function extensionsOf(certificate: X509Certificate): CertificateExtensions {
  try {
    return readExtensions(certificate);
  } catch (cause) {
    if (cause instanceof MalformedDer) throw new CertificateError('malformed', { cause });
    throw cause;
  }
}
