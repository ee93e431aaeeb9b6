import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { CLIENT_AUTH, kubernetesName, makeCertificate, SERVER_AUTH } from './make-certificate.ts';

const { privateKey: key, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const period = { notBefore: new Date('2026-01-01T00:00:00Z'), notAfter: new Date('2027-01-01T12:34:56Z') };

describe('a made certificate, as OpenSSL reads it', () => {
  test('carries subject, period and key', () => {
    const certificate = makeCertificate({ subject: kubernetesName('system:node:ä', ['a, b', 'c=d']), key, ...period });
    const { subject } = certificate.toLegacyObject();
    expect(subject.CN).toBe('system:node:ä');
    expect(subject.O).toEqual(['a, b', 'c=d']);
    expect(certificate.validFromDate).toEqual(period.notBefore);
    expect(certificate.validToDate).toEqual(period.notAfter);
    expect(certificate.checkPrivateKey(key)).toBe(true);
    expect(certificate.ca).toBe(false);
  });

  test('is signed by its issuer, or by itself', () => {
    const authority = makeCertificate({ subject: kubernetesName('ca'), key, authority: {}, ...period });
    const leafKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    const issuer = { certificate: authority, key };
    const leaf = makeCertificate({ subject: kubernetesName('leaf'), key: leafKey, issuer, ...period });
    expect(authority.ca).toBe(true);
    expect(authority.checkIssued(authority)).toBe(true);
    expect(leaf.checkIssued(authority)).toBe(true);
    expect(leaf.verify(publicKey)).toBe(true);
    expect(leaf.verify(leaf.publicKey)).toBe(false);
  });

  test('names DNS names and addresses of both families', () => {
    const names = ['localhost', '127.0.0.1', '::1', 'fd00::a:0:0:1', '::ffff:10.0.0.1', 'kubernetes.default.svc'];
    const certificate = makeCertificate({ subject: kubernetesName('x'), key, names, ...period });
    for (const name of ['localhost', 'kubernetes.default.svc']) expect(certificate.checkHost(name)).toBe(name);
    for (const name of ['127.0.0.1', '::1', 'fd00:0:0:0:a:0:0:1']) expect(certificate.checkIP(name)).toBeDefined();
    expect(certificate.subjectAltName).toContain('IP Address:0:0:0:0:0:FFFF:A00:1');
    expect(certificate.checkIP('127.0.0.2')).toBeUndefined();
    expect(certificate.checkHost('example.com')).toBeUndefined();
  });

  test('lists its extended key usages, and has none unless asked', () => {
    const extendedKeyUsages = [SERVER_AUTH, CLIENT_AUTH];
    expect(makeCertificate({ subject: kubernetesName('x'), key, extendedKeyUsages, ...period }).keyUsage).toEqual(
      extendedKeyUsages,
    );
    expect(makeCertificate({ subject: kubernetesName('x'), key, ...period }).keyUsage).toBeUndefined();
  });

  test('keeps dates from 2050 on', () => {
    const notAfter = new Date('2055-06-07T08:09:10Z');
    expect(makeCertificate({ subject: kubernetesName('x'), key, ...period, notAfter }).validToDate).toEqual(notAfter);
  });
});
