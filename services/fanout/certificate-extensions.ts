import type { X509Certificate } from 'node:crypto';
import {
  DER_BIT_STRING,
  DER_BOOLEAN,
  DER_INTEGER,
  derContext,
  type DerElement,
  MalformedDer,
  readDer,
  readDerAll,
  readObjectIdentifier,
} from './der.ts';

/** What RFC 5280 4.2 says about a certificate and Node does not tell. */
export interface CertificateExtensions {
  readonly authority: boolean;
  /** Most authorities below this one; undefined: any number. */
  readonly pathLength: number | undefined;
  /** May sign certificates: keyCertSign, or no key usage extension. */
  readonly signsCertificates: boolean;
  /** Usages it is limited to; undefined: none. */
  readonly extendedKeyUsages: readonly string[] | undefined;
  /** Critical extensions that are not understood here, so that it must be refused. */
  readonly unknownCritical: readonly string[];
}

const KEY_USAGE = '2.5.29.15';
const BASIC_CONSTRAINTS = '2.5.29.19';
const EXTENDED_KEY_USAGE = '2.5.29.37';
/** Understood, or harmless for a client's identity: alternative names, policies, distribution points, key identifiers. */
const HARMLESS = new Set(['2.5.29.17', '2.5.29.32', '2.5.29.31', '2.5.29.35', '2.5.29.14']);
const KEY_CERT_SIGN = 5;

/** Reads the extensions; throws MalformedDer. An authority must say so: version 1 certificates are none. */
export function readExtensions(certificate: X509Certificate): CertificateExtensions {
  const values = new Map<string, Buffer>();
  const unknownCritical: string[] = [];
  for (const { type, critical, value } of extensionsOf(certificate)) {
    if (values.has(type)) throw new MalformedDer('the same extension twice');
    values.set(type, value);
    const known = type === KEY_USAGE || type === BASIC_CONSTRAINTS || type === EXTENDED_KEY_USAGE || HARMLESS.has(type);
    if (critical && !known) unknownCritical.push(type);
  }
  const usage = values.get(KEY_USAGE);
  const extended = values.get(EXTENDED_KEY_USAGE);
  return {
    ...basicConstraints(values.get(BASIC_CONSTRAINTS)),
    signsCertificates: usage === undefined || bitOf(readDer(usage), KEY_CERT_SIGN),
    extendedKeyUsages:
      extended === undefined
        ? undefined
        : readDerAll(readDer(extended).contents).map(({ contents }) => readObjectIdentifier(contents)),
    unknownCritical,
  };
}

function basicConstraints(value: Buffer | undefined): Pick<CertificateExtensions, 'authority' | 'pathLength'> {
  if (value === undefined) return { authority: false, pathLength: undefined };
  const fields = readDerAll(readDer(value).contents);
  const authority = fields.some(({ tag, contents }) => tag === DER_BOOLEAN && contents[0] !== 0);
  const length = fields.find(({ tag }) => tag === DER_INTEGER)?.contents;
  if (length === undefined) return { authority, pathLength: undefined };
  if (length.length === 0 || length.length > 4 || length[0]! >= 0x80)
    throw new MalformedDer('path length out of range');
  return { authority, pathLength: length.readUIntBE(0, length.length) };
}

function bitOf({ tag, contents }: DerElement, bit: number): boolean {
  if (tag !== DER_BIT_STRING) throw new MalformedDer('key usage is no bit string');
  return ((contents[1 + Math.floor(bit / 8)] ?? 0) & (0x80 >> (bit % 8))) !== 0;
}

function extensionsOf(certificate: X509Certificate): { type: string; critical: boolean; value: Buffer }[] {
  const toBeSigned = readDer(readDer(certificate.raw).contents);
  const wrapper = readDerAll(toBeSigned.contents).find(({ tag }) => tag === derContext(3));
  if (wrapper === undefined) return [];
  return readDerAll(readDer(wrapper.contents).contents).map(({ contents }) => {
    const [type, ...rest] = readDerAll(contents);
    const value = rest.at(-1);
    if (type === undefined || value === undefined) throw new MalformedDer('extension without a value');
    const critical = rest.length > 1 && rest[0]!.tag === DER_BOOLEAN && rest[0]!.contents[0] !== 0;
    return { type: readObjectIdentifier(type.contents), critical, value: value.contents };
  });
}
