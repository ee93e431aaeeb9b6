import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import type { X509Certificate } from 'node:crypto';
import type { Clock } from '@dogwatch/process/clock.ts';
import { createFakeClock, type FakeClock } from '@dogwatch/process/fake-clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CertificateError } from './certificate-chain.ts';
import {
  type CertificateAuthenticator,
  createCertificateAuthenticator,
  userFromCertificates,
} from './client-certificate.ts';
import type { Connection } from './exchange.ts';
import { kubernetesName } from './make-certificate.ts';
import { testAuthority, testIdentity, type TestIdentity } from './test-certificates.ts';
import { startTestServer, type TestServer } from './test-server.ts';

const root = testAuthority();
const HOUR = 3600 * 1000;

function userOf(identity: TestIdentity, at = Date.now()) {
  return userFromCertificates([identity.certificate], [root.certificate], at);
}

describe('the user of a certificate', () => {
  test('is its common name, in the groups of its organizations and of all users', () => {
    const identity = testIdentity({ issuer: root, subject: kubernetesName('system:node:a', ['system:nodes', 'b, c']) });
    expect(userOf(identity)).toEqual({
      name: 'system:node:a',
      uid: '',
      groups: ['system:nodes', 'b, c', 'system:authenticated'],
      extra: {
        'authentication.kubernetes.io/credential-id': [
          `X509SHA256=${identity.certificate.fingerprint256.replaceAll(':', '').toLowerCase()}`,
        ],
      },
    });
  });

  test('may have a UID, but not two', () => {
    const uid = ['1.3.6.1.4.1.57683.2', 'u-1'] as const;
    expect(userOf(testIdentity({ issuer: root, subject: [...kubernetesName('a'), uid] }))).toMatchObject({
      uid: 'u-1',
    });
    expect(userOf(testIdentity({ issuer: root, subject: [...kubernetesName('a'), uid, uid] }))).toMatchObject({
      code: 'invalid_uid',
    });
  });

  test('is nobody without a common name, or without a certificate', () => {
    expect(userOf(testIdentity({ issuer: root, subject: [['2.5.4.10', 'system:masters']] }))).toBe('none');
    expect(userFromCertificates([], [root.certificate], Date.now())).toBe('none');
  });

  test('is the last common name, as in Go', () => {
    expect(
      userOf(testIdentity({ issuer: root, subject: [...kubernetesName('first'), ...kubernetesName('last')] })),
    ).toMatchObject({ name: 'last' });
  });

  test('cannot smuggle a group in by a line break', () => {
    const identity = testIdentity({
      issuer: root,
      subject: kubernetesName('a', ['x\nO=system:masters', 'y/O=system:masters']),
    });
    expect(userOf(identity)).toMatchObject({
      groups: ['x\nO=system:masters', 'y/O=system:masters', 'system:authenticated'],
    });
  });

  test('of another authority is refused', () => {
    expect(userOf(testIdentity({ issuer: testAuthority() }))).toBeInstanceOf(CertificateError);
  });
});

describe('an authenticator with a file of authorities', () => {
  let directory: string;
  let caFile: string;
  let clock: FakeClock;
  let authenticator: CertificateAuthenticator;
  const log = createLogger({ level: 'error', pretty: false, destination: { write: () => {} } });

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'client-certificate-'));
    caFile = join(directory, 'ca.crt');
    await writeFile(caFile, root.pem.cert);
    clock = createFakeClock();
    clock.setWall(Date.now());
    authenticator = await createCertificateAuthenticator({ caFile, clock, log });
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  function connectionOf(...identities: TestIdentity[]): Connection & { reads: number } {
    const certificates: X509Certificate[] = identities.map(({ certificate }) => certificate);
    return {
      remoteAddress: '192.0.2.1',
      reads: 0,
      peerCertificates() {
        this.reads += 1;
        return certificates;
      },
    };
  }

  async function replaceAuthorities(pem: string): Promise<void> {
    await writeFile(caFile, pem);
    await utimes(caFile, new Date(), new Date(Date.now() + 5_000));
  }

  test('knows a user for the whole connection', async () => {
    const connection = connectionOf(testIdentity({ issuer: root, subject: kubernetesName('a') }));
    const user = await authenticator.authenticate(connection);
    expect(user).toMatchObject({ name: 'a' });
    expect(await authenticator.authenticate(connection)).toBe(user);
    expect(await authenticator.authenticate(connectionOf())).toBeUndefined();
  });

  test('refuses an open connection once its certificate, or an intermediate, has expired', async () => {
    const link = testAuthority({
      subject: kubernetesName('link'),
      issuer: root,
      notAfter: new Date(clock.wall() + HOUR),
    });
    const connection = connectionOf(testIdentity({ issuer: link }), link);
    await authenticator.authenticate(connection);
    clock.setWall(clock.wall() + HOUR + 1_000);
    await expect(authenticator.authenticate(connection)).rejects.toMatchObject({ code: 'expired' });
  });

  test('takes a certificate that has become valid', async () => {
    const connection = connectionOf(testIdentity({ issuer: root, notBefore: new Date(clock.wall() + 5_000) }));
    await expect(authenticator.authenticate(connection)).rejects.toMatchObject({ code: 'not_yet_valid' });
    clock.advance(11_000);
    expect(await authenticator.authenticate(connection)).toBeDefined();
  });

  test('follows the file within a minute, for open connections too', async () => {
    const other = testAuthority({ subject: kubernetesName('other') });
    const [old, young] = [connectionOf(testIdentity({ issuer: root })), connectionOf(testIdentity({ issuer: other }))];
    await authenticator.authenticate(old);
    await replaceAuthorities(other.pem.cert);
    clock.advance(59_000);
    expect(await authenticator.authenticate(old)).toBeDefined();
    clock.advance(1_000);
    await expect(authenticator.authenticate(old)).rejects.toMatchObject({ code: 'unknown_authority' });
    expect(await authenticator.authenticate(young)).toBeDefined();
  });

  test('keeps the authorities it has while the file is broken or gone', async () => {
    const connection = connectionOf(testIdentity({ issuer: root }));
    await replaceAuthorities('nonsense');
    clock.advance(60_000);
    expect(await authenticator.authenticate(connection)).toBeDefined();
    await rm(caFile);
    clock.advance(60_000);
    expect(await authenticator.authenticate(connection)).toBeDefined();
  });

  test('does not start without authorities', async () => {
    const start = (file: string) => createCertificateAuthenticator({ caFile: file, clock, log });
    await expect(start(join(directory, 'missing'))).rejects.toMatchObject({ code: 'unreadable' });
    await writeFile(caFile, 'nonsense');
    await expect(start(caFile)).rejects.toMatchObject({ code: 'not_pem' });
    await writeFile(caFile, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
    await expect(start(caFile)).rejects.toMatchObject({ code: 'not_pem' });
  });
});

describe('through the server', () => {
  const authenticate = (connection: Connection, clock: Pick<Clock, 'wall'> = { wall: Date.now }) =>
    userFromCertificates(connection.peerCertificates(), [root.certificate], clock.wall());
  let server: TestServer;

  beforeEach(async () => {
    server = await startTestServer({
      tls: { cert: Buffer.alloc(0), key: Buffer.alloc(0), requestClientCertificate: true },
      onRequest: (exchange) => {
        const user = authenticate(exchange.connection);
        const verdict = user === 'none' || user instanceof CertificateError ? user.toString() : user.name;
        exchange.respond(200, {}, `${verdict} ${exchange.connection.peerCertificates().length}`);
      },
    });
  });
  afterEach(() => server.stop());

  test.each(['1.1', '2.0'] as const)('certificates and intermediates arrive over HTTP/%s', async (version) => {
    const link = testAuthority({ subject: kubernetesName('link'), issuer: root });
    const direct = testIdentity({ issuer: root, subject: kubernetesName('direct') });
    const over = testIdentity({ issuer: link, subject: kubernetesName('over') });
    const withLink = { ...over, pem: { ...over.pem, cert: over.pem.cert + link.pem.cert } };
    const stranger = testIdentity({ issuer: testAuthority(), subject: kubernetesName('stranger') });
    expect((await server.request(version, {})).body).toBe('none 0');
    expect((await server.request(version, { identity: direct })).body).toBe('direct 1');
    expect((await server.request(version, { identity: withLink })).body).toBe('over 2');
    expect((await server.request(version, { identity: stranger })).body).toMatch(/^CertificateError/);
  });

  // nodejs/node#35317: on TLS 1.3 a resumed session without a certificate counts as authorized.
  test.each([
    ['TLSv1.2', false],
    ['TLSv1.2', true],
    ['TLSv1.3', false],
    ['TLSv1.3', true],
  ] as const)(
    'a second %s connection (certificate: %s) is a full handshake with the same verdict',
    async (version, withCertificate) => {
      const identity = testIdentity({ issuer: root, subject: kubernetesName('a') });
      const options = { minVersion: version, maxVersion: version, ...(withCertificate ? identity.pem : {}) };
      const sessions: Buffer[] = [];
      const verdicts: string[] = [];
      for (let round = 0; round < 2; round++) {
        const session = sessions.at(-1);
        const socket = await server.tls({ ...options, ...(session === undefined ? {} : { session }) });
        socket.on('session', (received: Buffer) => sessions.push(received));
        expect(socket.isSessionReused()).toBe(false);
        socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
        const [answer] = (await once(socket, 'data')) as [Buffer];
        sessions.push(socket.getSession()!);
        verdicts.push(answer.toString().split('\r\n\r\n')[1]!);
        socket.destroy();
      }
      expect(verdicts).toEqual(withCertificate ? ['a 1', 'a 1'] : ['none 0', 'none 0']);
    },
  );
});
