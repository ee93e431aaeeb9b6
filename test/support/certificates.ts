import { generateKeyPairSync, type KeyObject, type X509Certificate } from 'node:crypto';
import { CLIENT_AUTH, kubernetesName, makeCertificate, SERVER_AUTH } from '@dogwatch/fanout/make-certificate.ts';

/** PEM texts. */
export interface KeyPair {
  readonly certificate: string;
  readonly privateKey: string;
}

const DAY_MS = 86_400_000;

/** A throw-away certificate authority, good for a week. */
export class CertificateAuthority {
  readonly #certificate: X509Certificate;
  readonly #key: KeyObject;

  constructor(commonName: string) {
    this.#key = newKey();
    this.#certificate = makeCertificate({
      subject: kubernetesName(commonName),
      key: this.#key,
      authority: {},
      ...validity(),
    });
  }

  /** PEM. */
  get certificate(): string {
    return this.#certificate.toString();
  }

  /** For a server on loopback, or with these names and addresses. */
  server(names: readonly string[] = ['127.0.0.1', 'localhost']): KeyPair {
    const key = newKey();
    return pair(
      key,
      this.#issue({ subject: kubernetesName('127.0.0.1'), key, extendedKeyUsages: [SERVER_AUTH], names }),
    );
  }

  /** For a user of kube-apiserver: CN is the name, each O a group. */
  client(user: string, groups: readonly string[] = []): KeyPair {
    const key = newKey();
    return pair(key, this.#issue({ subject: kubernetesName(user, groups), key, extendedKeyUsages: [CLIENT_AUTH] }));
  }

  #issue(request: Omit<Parameters<typeof makeCertificate>[0], 'issuer' | 'notBefore' | 'notAfter'>): X509Certificate {
    return makeCertificate({ ...request, issuer: { certificate: this.#certificate, key: this.#key }, ...validity() });
  }
}

/** A fresh P-256 key for service account tokens, PKCS #8 and SPKI. */
export function signingKey(): { privateKey: string; publicKey: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  return { privateKey, publicKey };
}

function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

function pair(key: KeyObject, certificate: X509Certificate): KeyPair {
  return { certificate: certificate.toString(), privateKey: String(key.export({ type: 'pkcs8', format: 'pem' })) };
}

function validity(): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + 7 * DAY_MS) };
}
