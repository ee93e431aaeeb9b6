import { createHash, createPublicKey, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';
import { isIP, isIPv4 } from 'node:net';
import {
  DER_BIT_STRING,
  DER_BOOLEAN,
  DER_GENERALIZED_TIME,
  DER_INTEGER,
  DER_OCTET_STRING,
  DER_SEQUENCE,
  DER_SET,
  DER_UTF8_STRING,
  der,
  derContext,
  derContextPrimitive,
  derObjectIdentifier,
  readDer,
  readDerAll,
} from './der.ts';

export const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
export const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/** Relative distinguished names in order: [object identifier, value]. */
export type DistinguishedName = readonly (readonly [type: string, value: string])[];

export interface CertificateRequest {
  readonly subject: DistinguishedName;
  /** The subject's P-256 key, private or public. */
  readonly key: KeyObject;
  /** Who signs: a certificate made here and its private P-256 key. Absent: self-signed with `key`. */
  readonly issuer?: { readonly certificate: X509Certificate; readonly key: KeyObject };
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Absent: an end entity. */
  readonly authority?: { readonly pathLength?: number };
  readonly extendedKeyUsages?: readonly string[];
  /** DNS names and IP addresses. */
  readonly names?: readonly string[];
  /** More extensions: [object identifier, critical, DER value]. */
  readonly extensions?: readonly (readonly [type: string, critical: boolean, value: Buffer])[];
}

const COMMON_NAME = '2.5.4.3';
const ORGANIZATION = '2.5.4.10';
const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';
const TRUE = der(DER_BOOLEAN, Buffer.from([0xff]));

/** A subject as Kubernetes uses it: a user or server name and its groups. */
export function kubernetesName(commonName: string, organizations: readonly string[] = []): DistinguishedName {
  return [...organizations.map((name) => [ORGANIZATION, name] as const), [COMMON_NAME, commonName]];
}

/**
 * An X.509 v3 certificate (RFC 5280), signed ECDSA with SHA-256. Written here because it takes a screen of code, where
 * the known packages bring a dozen others and a metadata polyfill.
 */
export function makeCertificate(request: CertificateRequest): X509Certificate {
  const issuerKey = request.issuer?.key ?? request.key;
  const algorithm = der(DER_SEQUENCE, derObjectIdentifier(ECDSA_WITH_SHA256));
  const subject = distinguishedName(request.subject);
  const toBeSigned = der(
    DER_SEQUENCE,
    der(derContext(0), der(DER_INTEGER, Buffer.from([2]))),
    der(DER_INTEGER, serialNumber()),
    algorithm,
    request.issuer === undefined ? subject : subjectOf(request.issuer.certificate),
    der(DER_SEQUENCE, time(request.notBefore), time(request.notAfter)),
    subject,
    publicKeyInfo(request.key),
    der(derContext(3), der(DER_SEQUENCE, ...keyIdentifiers(request.key, issuerKey), ...extensionsOf(request))),
  );
  const signature = sign('sha256', toBeSigned, issuerKey);
  return new X509Certificate(der(DER_SEQUENCE, toBeSigned, algorithm, bits(signature)));
}

/** Subject and authority key identifiers; strict clients (Python from 3.13) insist on both. */
function keyIdentifiers(key: KeyObject, issuerKey: KeyObject): Buffer[] {
  return [
    extension('2.5.29.14', false, der(DER_OCTET_STRING, keyIdentifier(key))),
    extension('2.5.29.35', false, der(DER_SEQUENCE, der(derContextPrimitive(0), keyIdentifier(issuerKey)))),
  ];
}

/** RFC 5280 4.2.1.2, method 1: SHA-1 of the bits of the public key. */
function keyIdentifier(key: KeyObject): Buffer {
  const publicKey = readDerAll(readDer(publicKeyInfo(key)).contents)[1]!.contents.subarray(1);
  return createHash('sha1').update(publicKey).digest();
}

function extensionsOf({
  authority,
  extendedKeyUsages = [],
  names = [],
  extensions = [],
}: CertificateRequest): Buffer[] {
  const pathLength = authority?.pathLength;
  const constraints = [
    ...(authority === undefined ? [] : [TRUE]),
    ...(pathLength === undefined ? [] : [der(DER_INTEGER, Buffer.from([pathLength]))]),
  ];
  // keyCertSign for an authority, digitalSignature and keyEncipherment for an end entity.
  const usage = authority === undefined ? Buffer.from([5, 0xa0]) : Buffer.from([2, 0x04]);
  return [
    extension('2.5.29.19', true, der(DER_SEQUENCE, ...constraints)),
    extension('2.5.29.15', true, der(DER_BIT_STRING, usage)),
    ...(extendedKeyUsages.length === 0
      ? []
      : [extension('2.5.29.37', false, der(DER_SEQUENCE, ...extendedKeyUsages.map(derObjectIdentifier)))]),
    ...(names.length === 0 ? [] : [extension('2.5.29.17', false, der(DER_SEQUENCE, ...names.map(generalName)))]),
    ...extensions.map(([type, critical, value]) => extension(type, critical, value)),
  ];
}

function extension(type: string, critical: boolean, value: Buffer): Buffer {
  return der(DER_SEQUENCE, derObjectIdentifier(type), ...(critical ? [TRUE] : []), der(DER_OCTET_STRING, value));
}

function distinguishedName(name: DistinguishedName): Buffer {
  const attribute = ([type, value]: DistinguishedName[number]) =>
    der(DER_SET, der(DER_SEQUENCE, derObjectIdentifier(type), der(DER_UTF8_STRING, Buffer.from(value))));
  return der(DER_SEQUENCE, ...name.map(attribute));
}

function generalName(name: string): Buffer {
  if (isIP(name) === 0) return der(derContextPrimitive(2), Buffer.from(name, 'latin1'));
  return der(derContextPrimitive(7), isIPv4(name) ? Buffer.from(name.split('.').map(Number)) : ipv6Bytes(name));
}

function ipv6Bytes(address: string): Buffer {
  // The URL parser writes every legal form, embedded IPv4 too, as groups of hex.
  const [left = '', right] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)));
  const head = groups(left);
  const tail = groups(right ?? '');
  const bytes = Buffer.alloc(16);
  head.forEach((group, index) => bytes.writeUInt16BE(group, index * 2));
  tail.forEach((group, index) => bytes.writeUInt16BE(group, (8 - tail.length + index) * 2));
  return bytes;
}

/** 127 random bits, positive and without a leading zero byte. */
function serialNumber(): Buffer {
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  return serial;
}

function time(date: Date): Buffer {
  const text = `${date.toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`;
  // RFC 5280 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050.
  return date.getUTCFullYear() < 2050
    ? der(0x17, Buffer.from(text.slice(2)))
    : der(DER_GENERALIZED_TIME, Buffer.from(text));
}

function bits(bytes: Buffer): Buffer {
  return der(DER_BIT_STRING, Buffer.from([0]), bytes);
}

function publicKeyInfo(key: KeyObject): Buffer {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return publicKey.export({ type: 'spki', format: 'der' });
}

/** The issuer's subject byte for byte, as name chaining compares bytes. */
function subjectOf(certificate: X509Certificate): Buffer {
  const toBeSigned = readDerAll(readDer(certificate.raw).contents)[0]!.contents;
  const fields = readDerAll(toBeSigned);
  const subject = fields[fields[0]!.tag === derContext(0) ? 5 : 4]!;
  return der(subject.tag, subject.contents);
}
