// TLS and credentials towards real nats-servers, and what is said where they do not fit.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { follow, watermark } from '@dogwatch/bus/bus-conformance.ts';
import { createNatsBus } from '@dogwatch/bus/nats-bus.ts';
import { type NatsOptions, NatsTlsFailed, NatsUnauthorized } from '@dogwatch/bus/nats-dial.ts';
import { type NatsPort, connectNats } from '@dogwatch/bus/nats-port.ts';
import { systemClock } from '@dogwatch/process/clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { assetsReady } from '../support/assets.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { NatsAccounts } from '../support/nats-accounts.ts';
import { NatsServers } from '../support/nats-server.ts';

const built = assetsReady(['nats-server']);
describe.skipIf(!built)(`NATS with TLS and users${built ? '' : ' (skipped: it is not built, see make assets)'}`, () => {
  const authority = new CertificateAuthority('nats-ca');
  const accounts = new NatsAccounts();
  const tls = { ...authority.server(), clientCa: authority.certificate };
  let nats: NatsServers;
  let directory: string;
  let files: { readonly ca: string; readonly cert: string; readonly key: string; readonly creds: string };

  async function file(name: string, text: string): Promise<string> {
    const path = join(directory, name);
    await writeFile(path, text);
    return path;
  }

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'dogwatch-nats-security-'));
    const client = authority.client('dogwatch');
    files = {
      ca: await file('ca.pem', authority.certificate),
      cert: await file('client.pem', client.certificate),
      key: await file('client-key.pem', client.privateKey),
      creds: await file('dogwatch.creds', accounts.credentials()),
    };
    nats = await NatsServers.start({ count: 1, tls, accounts });
  });
  afterAll(async () => {
    await nats.close();
    await rm(directory, { recursive: true });
  });

  function connect(options: Partial<NatsOptions> = {}): Promise<NatsPort> {
    return connectNats({
      servers: nats.addresses,
      name: 'nats-security.test',
      timeoutMs: 5_000,
      credsFile: files.creds,
      tls: { caFile: files.ca, certFile: files.cert, keyFile: files.key },
      ...options,
    });
  }

  test('lets a bus in that has both', async () => {
    const lines: string[] = [];
    const log = createLogger({
      level: 'debug',
      pretty: false,
      destination: { write: (line) => void lines.push(line) },
    });
    const bus = createNatsBus({ port: await connect(), clock: systemClock, log });
    onTestFinished(() => bus.close());
    const { seen } = follow(bus, 'a/0');
    bus.publish('a/0', watermark(1));
    await bus.flush();
    expect(seen).toEqual([watermark(1)]);
    expect(lines.join()).not.toMatch(/BEGIN|eyJ|SU[A-Z2-7]{20}/);
  });

  test('takes credentials whose lines end as on Windows', async () => {
    const credsFile = await file('windows.creds', accounts.credentials().replaceAll('\n', '\r\n'));
    const port = await connect({ credsFile });
    expect(port.connected).toBe(true);
    await port.close(1_000);
  });

  test('says what to do where the certificates do not fit', async () => {
    const other = new CertificateAuthority('other-ca');
    const otherFile = await file('other.pem', other.certificate);
    const { ca: caFile, cert: certFile, key: keyFile } = files;
    for (const its of [{ caFile: otherFile, certFile, keyFile }, { certFile, keyFile }, {}]) {
      const connecting = connect({ tls: its });
      await expect(connecting).rejects.toThrow(NatsTlsFailed);
      await expect(connecting).rejects.toThrow(its.caFile ?? 'there is no CA file given');
    }
    const strange = other.client('dogwatch');
    const strangeFile = await file('strange.pem', strange.certificate);
    const strangeKey = await file('strange-key.pem', strange.privateKey);
    await expect(connect({ tls: { caFile, certFile, keyFile: strangeKey } })).rejects.toThrow(NatsTlsFailed);
    const distrusted = connect({ timeoutMs: 500, tls: { caFile, certFile: strangeFile, keyFile: strangeKey } });
    await expect(distrusted).rejects.toThrow(`does it trust ${strangeFile}?`);
    const anonymous = connect({ timeoutMs: 500, tls: { caFile } });
    await expect(anonymous).rejects.toThrow('does it trust clients without a certificate?');
  });

  test('is known by the address it was given by, be it a name or not', async () => {
    for (const [names, host, known] of [
      [['127.0.0.1'], '127.0.0.1', true],
      [['localhost'], 'localhost', true],
      [['localhost'], '127.0.0.1', false],
      [['127.0.0.2'], '127.0.0.1', false],
      [['127.0.0.1'], 'localhost', false],
    ] as const) {
      const server = await NatsServers.start({ count: 1, tls: authority.server(names) });
      onTestFinished(() => server.close());
      const connecting = connectNats({
        servers: [`${host}:${server.first.port}`],
        name: 'nats-security.test',
        timeoutMs: 5_000,
        tls: { caFile: files.ca },
      });
      const outcome = await connecting.then(
        (port) => port.close(1_000).then(() => 'known'),
        (error: Error) => error.message,
      );
      expect(outcome).toMatch(known ? 'known' : 'ERR_TLS_CERT_ALTNAME_INVALID');
    }
  });

  test('says what to do where the credentials do not fit', async () => {
    const credsFile = await file('stranger.creds', new NatsAccounts().credentials());
    await expect(connect({ credsFile })).rejects.toThrow(NatsUnauthorized);
    await expect(connect({ credsFile })).rejects.toThrow(`it does not accept ${credsFile}`);
    const nobody = connectNats({
      servers: nats.addresses,
      name: 'nobody',
      timeoutMs: 5_000,
      tls: { caFile: files.ca, certFile: files.cert, keyFile: files.key },
    });
    await expect(nobody).rejects.toThrow('it asks for credentials');
  });

  test('lets a bus in again once new files fit, and tells meanwhile what is wrong, but not all the time', async () => {
    const credsFile = await file('renewed.creds', accounts.credentials());
    const lines: string[] = [];
    const log = createLogger({
      level: 'error',
      pretty: false,
      destination: { write: (line) => void lines.push(line) },
    });
    const port = await connect({ credsFile });
    let errors = 0;
    port.onStatus(({ type }) => void (errors += type === 'error' ? 1 : 0));
    const bus = createNatsBus({ port, clock: systemClock, log });
    onTestFinished(() => bus.close());
    const others = new NatsAccounts();
    await nats.first.kill9();
    await nats.first.configure([], { tls, accounts: others });
    await nats.first.start();
    await eventually({ what: 'it is refused', timeoutMs: 10_000 }, () => errors > 2);
    expect(bus.connected).toBe(false);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('Authorization Violation');
    await file('renewed.creds', others.credentials());
    await eventually({ what: 'it is let in', timeoutMs: 10_000 }, () => bus.connected);
    await nats.first.kill9();
    await nats.first.configure([], { tls, accounts });
    await nats.first.start();
  });
});
