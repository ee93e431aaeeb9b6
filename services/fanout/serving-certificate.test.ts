import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { kubernetesName, makeCertificate } from './make-certificate.ts';
import { certificatesIn } from './pem.ts';
import {
  loadServingCertificate,
  ServingCertificateError,
  type ServingCertificateErrorCode,
} from './serving-certificate.ts';

const now = Date.UTC(2026, 5, 1);
const DAY = 24 * 3600 * 1000;
let certDir: string;

beforeEach(async () => {
  certDir = await mkdtemp(join(tmpdir(), 'serving-certificate-'));
});
afterEach(() => rm(certDir, { recursive: true, force: true }));

async function codeOf(loading: Promise<unknown>): Promise<ServingCertificateErrorCode> {
  const error = await loading.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ServingCertificateError);
  return (error as ServingCertificateError).code;
}

describe('without files of the operator', () => {
  test('a certificate is made for a year, for this host and all names', async () => {
    const made = await loadServingCertificate({ certDir, names: ['dogwatch.example', '10.1.2.3'], now });
    const leaf = new X509Certificate(made.cert);
    for (const name of ['localhost', 'kubernetes.default.svc', 'dogwatch.example', hostname()])
      expect(leaf.checkHost(name)).toBe(name);
    for (const address of ['127.0.0.1', '::1', '10.1.2.3']) expect(leaf.checkIP(address)).toBeDefined();
    expect(leaf.validToDate.getTime() - now).toBe(365 * DAY);
    expect(leaf.verify(new X509Certificate(made.ca).publicKey)).toBe(true);
    expect(leaf.ca).toBe(false);
  });

  test('it is kept: the key readable for the owner alone, no temporary file left', async () => {
    const made = await loadServingCertificate({ certDir, names: [], now });
    expect((await readdir(certDir)).sort()).toEqual(['apiserver.crt', 'apiserver.key']);
    expect((await stat(join(certDir, 'apiserver.key'))).mode & 0o777).toBe(0o600);
    expect(await readFile(join(certDir, 'apiserver.crt'))).toEqual(made.cert);
  });

  test('it is used again while it is valid and covers the names', async () => {
    const first = await loadServingCertificate({ certDir, names: ['a.example', '*.b.example'], now });
    const again = await loadServingCertificate({ certDir, names: ['a.example', '*.b.example'], now: now + 300 * DAY });
    expect(again).toEqual(first);
  });

  test.each([
    ['a new name is asked for', { names: ['other.example'], now }],
    ['less than 30 days are left', { names: [], now: now + 340 * DAY }],
    ['it has lapsed', { names: [], now: now + 400 * DAY }],
  ])('a new one is made when %s', async (_, asked) => {
    const first = await loadServingCertificate({ certDir, names: [], now });
    const second = await loadServingCertificate({ certDir, ...asked });
    expect(second.ca).not.toEqual(first.ca);
    expect(await loadServingCertificate({ certDir, ...asked })).toEqual(second);
  });

  test('a pair of our own that was half written is made anew', async () => {
    await loadServingCertificate({ certDir, names: [], now });
    await writeFile(join(certDir, 'apiserver.key'), '');
    const mended = await loadServingCertificate({ certDir, names: [], now });
    expect(await readFile(join(certDir, 'apiserver.key'))).toEqual(mended.key);
  });

  test('"any" addresses are no names, and nonsense is refused', async () => {
    const { cert } = await loadServingCertificate({ certDir, names: ['0.0.0.0', '::'], now });
    expect(new X509Certificate(cert).checkIP('0.0.0.0')).toBeUndefined();
    expect(await codeOf(loadServingCertificate({ certDir, names: ['no good'], now }))).toBe('invalid_name');
  });

  test("somebody else's certificate in the directory is used, but never overwritten", async () => {
    const foreign = foreignPair();
    await writeFile(join(certDir, 'apiserver.crt'), foreign.cert);
    await writeFile(join(certDir, 'apiserver.key'), foreign.key);
    expect(await codeOf(loadServingCertificate({ certDir, names: ['new.example'], now }))).toBe('foreign_certificate');
    expect(await codeOf(loadServingCertificate({ certDir, names: [], now: now + 400 * DAY }))).toBe('not_valid_now');
    expect(await readFile(join(certDir, 'apiserver.crt'))).toEqual(foreign.cert);
  });

  test.skipIf(process.getuid?.() === 0)('a directory that cannot be written is named', async () => {
    await chmod(certDir, 0o500);
    expect(await codeOf(loadServingCertificate({ certDir, names: [], now }))).toBe('unwritable');
  });

  test('a path that is no directory is named', async () => {
    const file = join(certDir, 'file');
    await writeFile(file, '');
    expect(await codeOf(loadServingCertificate({ certDir: join(file, 'below'), names: [], now }))).toMatch(/^un/);
  });
});

describe('with files of the operator', () => {
  test('they are served as they are; clients trust the last certificate of the chain', async () => {
    const foreign = foreignPair();
    const files = await writeFiles(foreign);
    const loaded = await loadServingCertificate({ ...files, certDir, names: ['ignored.example'], now });
    expect(loaded.cert).toEqual(foreign.cert);
    expect(loaded.ca.toString()).toBe(certificatesIn(foreign.cert.toString()).at(-1)!.toString());
  });

  test.each<[ServingCertificateErrorCode, (files: { certFile: string; keyFile: string }) => Promise<object>]>([
    ['incomplete_pair', async ({ certFile }) => ({ certFile })],
    ['incomplete_pair', async ({ keyFile }) => ({ keyFile })],
    ['unreadable', async (files) => ({ ...files, certFile: '/nonexistent/tls.crt' })],
    ['not_pem', async (files) => ({ ...files, certFile: files.keyFile })],
    ['not_pem', async (files) => ({ ...files, keyFile: files.certFile })],
    ['key_mismatch', async (files) => ({ ...files, keyFile: (await writeFiles(foreignPair())).keyFile })],
    ['not_valid_now', async (files) => ({ ...files, now: now + 400 * DAY })],
  ])('%s', async (code, spoil) => {
    const files = await writeFiles(foreignPair());
    expect(await codeOf(loadServingCertificate({ certDir, names: [], now, ...(await spoil(files)) }))).toBe(code);
  });

  test('an error about a key does not hold the key', async () => {
    const { certFile } = await writeFiles(foreignPair());
    const keyFile = join(certDir, 'bad.key');
    await writeFile(keyFile, '-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n');
    const error = await loadServingCertificate({ certFile, keyFile, certDir, names: [], now }).catch(
      (reason: unknown) => reason,
    );
    expect((error as Error).stack).not.toContain('c2VjcmV0');
    expect((error as Error).cause).toBeUndefined();
  });
});

/** A pair that does not look like dogwatch's own: the leaf alone, signed by itself. */
function foreignPair(): { cert: Buffer; key: Buffer } {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const names = ['localhost', '127.0.0.1'];
  const subject = kubernetesName('somebody else');
  const certificate = makeCertificate({
    subject,
    key: privateKey,
    names,
    notBefore: new Date(now - DAY),
    notAfter: new Date(now + 365 * DAY),
  });
  return {
    cert: Buffer.from(certificate.toString()),
    key: Buffer.from(privateKey.export({ type: 'sec1', format: 'pem' })),
  };
}

let written = 0;
async function writeFiles({
  cert,
  key,
}: {
  cert: Buffer;
  key: Buffer;
}): Promise<{ certFile: string; keyFile: string }> {
  written += 1;
  const certFile = join(certDir, `tls-${written}.crt`);
  const keyFile = join(certDir, `tls-${written}.key`);
  await Promise.all([writeFile(certFile, cert), writeFile(keyFile, key)]);
  return { certFile, keyFile };
}
