import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { mkdir, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { kubernetesName, makeCertificate, SERVER_AUTH } from './make-certificate.ts';
import { certificatesIn } from './pem.ts';

export interface ServingCertificateOptions {
  /** PEM files of the operator: the certificate with its intermediates, and its key. Both or neither. */
  readonly certFile?: string;
  readonly keyFile?: string;
  /** Where a self-made `apiserver.crt` and `apiserver.key` are kept. Made if it is missing. */
  readonly certDir: string;
  /** DNS names and addresses to be reached by, besides localhost, this host and `kubernetes.default.svc`. */
  readonly names: readonly string[];
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** PEM. `ca` is what clients must trust. */
export interface ServingCertificate {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
}

export type ServingCertificateErrorCode =
  | 'incomplete_pair'
  | 'unreadable'
  | 'not_pem'
  | 'key_mismatch'
  | 'not_valid_now'
  | 'invalid_name'
  | 'foreign_certificate'
  | 'unwritable';

/** There is no usable serving certificate; the message says what to do. It never holds key bytes. */
export class ServingCertificateError extends Error {
  override readonly name = 'ServingCertificateError';
  readonly code: ServingCertificateErrorCode;

  constructor(code: ServingCertificateErrorCode, message: string, options?: { cause: unknown }) {
    super(message, options);
    this.code = code;
  }
}

const YEAR_MS = 365 * 24 * 3600 * 1000;
/** A self-made certificate is made anew when less than this is left of it. */
const RENEW_BEFORE_MS = 30 * 24 * 3600 * 1000;
/** Clients' clocks may be behind by this much. */
const BACKDATE_MS = 3600 * 1000;
const OWN_AUTHORITY = 'dogwatch-ca@';
const DEFAULT_NAMES = [
  'localhost',
  '127.0.0.1',
  '::1',
  'kubernetes',
  'kubernetes.default',
  'kubernetes.default.svc',
  'kubernetes.default.svc.cluster.local',
];

/**
 * The serving certificate: the operator's files, else a self-made one in `certDir`, as kube-apiserver does. A self-made
 * one (ECDSA P-256, signed by an authority whose key is thrown away, valid for a year) is used again while it is valid
 * and covers all names. Throws ServingCertificateError.
 */
export async function loadServingCertificate(options: ServingCertificateOptions): Promise<ServingCertificate> {
  const { certFile, keyFile, certDir, now } = options;
  if (certFile !== undefined && keyFile !== undefined) return readPair({ certFile, keyFile, now });
  if (certFile !== undefined || keyFile !== undefined) {
    throw new ServingCertificateError(
      'incomplete_pair',
      'give both --tls-cert-file and --tls-private-key-file, or neither',
    );
  }
  const names = allNames(options.names);
  const files = { certFile: join(certDir, 'apiserver.crt'), keyFile: join(certDir, 'apiserver.key'), now };
  const kept = await readKept(files, names);
  return kept ?? makeAndKeep(files, names, certDir);
}

interface PairFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly now: number;
}

async function readPair({ certFile, keyFile, now }: PairFiles): Promise<ServingCertificate> {
  const [cert, key] = await Promise.all([readPem(certFile), readPem(keyFile)]);
  const chain = parseChain(cert, certFile);
  if (!chain[0]!.checkPrivateKey(parseKey(key, keyFile))) {
    throw new ServingCertificateError(
      'key_mismatch',
      `the key in ${keyFile} is not the one of the certificate in ${certFile}`,
    );
  }
  if (!isValid(chain[0]!, now)) {
    const { validFrom, validTo } = chain[0]!;
    const message = `the certificate in ${certFile} is valid from ${validFrom} to ${validTo}: renew it, or check the clock`;
    throw new ServingCertificateError('not_valid_now', message);
  }
  return { cert, key, ca: Buffer.from(chain.at(-1)!.toString()) };
}

/** The pair in the certificate directory if it is still good; undefined if one is to be made. */
async function readKept(files: PairFiles, names: readonly string[]): Promise<ServingCertificate | undefined> {
  const cert = await readIfExists(files.certFile);
  if (cert === undefined) return undefined;
  const own = isOwn(cert, files.certFile);
  let usable: ServingCertificate | undefined;
  try {
    usable = await readPair(files);
  } catch (error) {
    // A broken pair of our own (an interrupted write, a lapsed year) is replaced; somebody else's is theirs to mend.
    if (!own || !(error instanceof ServingCertificateError)) throw error;
    return undefined;
  }
  const leaf = new X509Certificate(usable.cert);
  const missing = names.filter((name) => !covers(leaf, name));
  if (!own && missing.length > 0) {
    const message = `${files.certFile} was not made by dogwatch and lacks ${missing.join(', ')}: remove it, or give --tls-cert-file and --tls-private-key-file`;
    throw new ServingCertificateError('foreign_certificate', message);
  }
  if (!own) return usable;
  return missing.length === 0 && isValid(leaf, files.now + RENEW_BEFORE_MS) ? usable : undefined;
}

async function makeAndKeep(files: PairFiles, names: readonly string[], certDir: string): Promise<ServingCertificate> {
  const made = makePair(names, files.now);
  try {
    await mkdir(certDir, { recursive: true });
    await writeAtomically(files.keyFile, made.key, 0o600);
    await writeAtomically(files.certFile, made.cert, 0o644);
  } catch (cause) {
    const message = `cannot keep a self-made certificate in ${certDir}: make it writable, or set --cert-dir`;
    throw new ServingCertificateError('unwritable', message, { cause });
  }
  return made;
}

function makePair(names: readonly string[], now: number): ServingCertificate {
  const period = { notBefore: new Date(now - BACKDATE_MS), notAfter: new Date(now + YEAR_MS) };
  const authorityKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const authority = makeCertificate({
    subject: kubernetesName(`${OWN_AUTHORITY}${hostname()}-${Math.floor(now / 1000)}`),
    key: authorityKey,
    authority: { pathLength: 0 },
    ...period,
  });
  const leaf = makeCertificate({
    subject: kubernetesName(`dogwatch@${hostname()}`),
    key,
    issuer: { certificate: authority, key: authorityKey },
    extendedKeyUsages: [SERVER_AUTH],
    names,
    ...period,
  });
  return {
    cert: Buffer.from(`${leaf.toString()}${authority.toString()}`),
    key: Buffer.from(key.export({ type: 'pkcs8', format: 'pem' })),
    ca: Buffer.from(authority.toString()),
  };
}

/** Given and default names without duplicates and without addresses that mean "any". */
function allNames(given: readonly string[]): string[] {
  const host = hostname();
  for (const name of given) {
    if (isIP(name) === 0 && !isDnsName(name)) {
      throw new ServingCertificateError('invalid_name', `"${name}" is neither a DNS name nor an IP address`);
    }
  }
  const names = [...DEFAULT_NAMES, ...(isDnsName(host) ? [host] : []), ...given];
  return [...new Set(names)].filter((name) => name !== '0.0.0.0' && name !== '::');
}

function isDnsName(name: string): boolean {
  return name.length <= 253 && /^(\*\.)?[\w-]{1,63}(\.[\w-]{1,63})*$/.test(name);
}

function covers(certificate: X509Certificate, name: string): boolean {
  if (isIP(name) !== 0) return certificate.checkIP(name) !== undefined;
  return (
    certificate.subjectAltName?.split(', ').includes(`DNS:${name}`) === true ||
    certificate.checkHost(name) !== undefined
  );
}

function isOwn(pem: Buffer, file: string): boolean {
  const [leaf] = parseChain(pem, file);
  return leaf!.toLegacyObject().issuer.CN?.toString().startsWith(OWN_AUTHORITY) === true;
}

function isValid(certificate: X509Certificate, at: number): boolean {
  return certificate.validFromDate.getTime() <= at && at <= certificate.validToDate.getTime();
}

function parseChain(pem: Buffer, file: string): X509Certificate[] {
  let chain: X509Certificate[];
  try {
    chain = certificatesIn(pem.toString('latin1'));
  } catch (cause) {
    throw new ServingCertificateError('not_pem', `${file} holds a certificate that cannot be read`, { cause });
  }
  if (chain.length === 0) throw new ServingCertificateError('not_pem', `${file} holds no PEM certificate`);
  return chain;
}

function parseKey(pem: Buffer, file: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // The cause is left out on purpose: OpenSSL's may quote what it read.
    throw new ServingCertificateError('not_pem', `${file} holds no private key in PEM without a passphrase`);
  }
}

async function readPem(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw new ServingCertificateError('unreadable', `cannot read ${file}: check the path and its permissions`, {
      cause,
    });
  }
}

async function readIfExists(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new ServingCertificateError('unreadable', `cannot read ${file}: check its permissions`, { cause });
  }
}

async function writeAtomically(file: string, bytes: Buffer, mode: number): Promise<void> {
  const temporary = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`;
  try {
    await writeFile(temporary, bytes, { mode, flag: 'wx' });
    await rename(temporary, file);
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
}
