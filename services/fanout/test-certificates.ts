import { generateKeyPairSync, type KeyObject, type X509Certificate } from 'node:crypto';
import { CLIENT_AUTH, type CertificateRequest, kubernetesName, makeCertificate } from './make-certificate.ts';

/** A certificate and its key, for tests. */
export interface TestIdentity {
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
  readonly pem: { readonly cert: string; readonly key: string };
}

const DAY_MS = 24 * 3600 * 1000;

/** An identity signed by `issuer`, or by itself; a client's, valid for a day around now, unless said otherwise. */
export function testIdentity({
  issuer,
  ...wanted
}: Partial<CertificateRequest> & { issuer?: TestIdentity } = {}): TestIdentity {
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const certificate = makeCertificate({
    subject: kubernetesName('somebody'),
    key,
    ...(issuer === undefined ? {} : { issuer: { certificate: issuer.certificate, key: issuer.key } }),
    ...(wanted.authority === undefined ? { extendedKeyUsages: [CLIENT_AUTH] } : {}),
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + DAY_MS),
    ...wanted,
  });
  return {
    certificate,
    key,
    pem: { cert: certificate.toString(), key: String(key.export({ type: 'pkcs8', format: 'pem' })) },
  };
}

/** An authority; a root unless `issuer` is given. */
export function testAuthority(wanted: Partial<CertificateRequest> & { issuer?: TestIdentity } = {}): TestIdentity {
  return testIdentity({ subject: kubernetesName('test-ca'), authority: {}, ...wanted });
}
