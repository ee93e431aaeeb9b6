import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, type Socket, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { type NatsOptions, NatsFileUnusable, NatsTlsFailed, NatsUnreachable } from './nats-dial.ts';
import { type NatsPort, type NatsStatus, NatsTooOld, connectNats } from './nats-port.ts';

interface FakeServer {
  readonly address: string;
  /** Cuts all connections. */
  readonly cut: () => void;
  /** Reads nothing any more from those there are, and answers nothing. */
  readonly hang: () => void;
}

/**
 * A server that takes connections and can do no more. To each it says it is the next of `versions`, and the last to all
 * that follow.
 */
async function fakeServer(...versions: string[]): Promise<FakeServer> {
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    const version = versions[Math.min(connections++, versions.length - 1)];
    const info = { server_id: 'S', server_name: 's', version, go: '', host: '', port: 0, proto: 1, max_payload: 1024 };
    socket.write(`INFO ${JSON.stringify({ ...info, headers: true })}\r\n`);
    socket.on('data', (chunk) => {
      for (const _ of chunk.toString().matchAll(/^PING\r$/gm)) socket.write('PONG\r\n');
    });
    socket.on('error', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    hang: () => {
      for (const socket of sockets) socket.pause();
    },
  };
}

function connect(server: string, options: Partial<NatsOptions> = {}): Promise<NatsPort> {
  return connectNats({ servers: [server], name: 'test', timeoutMs: 500, ...options });
}

async function fileOf(text: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'dogwatch-nats-port-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  await writeFile(join(directory, 'file'), text);
  return join(directory, 'file');
}

describe('connecting to NATS', () => {
  test.each(['1.4.1', '2.2.0', '2.9.10', '2.10.29'])('refuses server %s, which knows no fence', async (version) => {
    const connecting = connect((await fakeServer(version)).address);
    await expect(connecting).rejects.toThrow(NatsTooOld);
    await expect(connecting).rejects.toThrow(`version ${version}; dogwatch needs 2.11 or newer`);
  });

  test.each(['2.11.0', '2.11.0-RC.1', '2.15.2', '3.0.0'])('takes server %s', async (version) => {
    const port = await connect((await fakeServer(version)).address);
    expect(port.server).toEqual({ name: 's', version, maxPayloadBytes: 1024, jetStream: false });
    await port.close(100);
    expect(port.connected).toBe(false);
  });

  test('gives up where there is none', async () => {
    const connecting = connect('127.0.0.1:1');
    await expect(connecting).rejects.toThrow(NatsUnreachable);
    await expect(connecting).rejects.toThrow('127.0.0.1:1 within 0.5 s');
  });

  test('reports a server that is too old after a reconnect, once', async () => {
    const server = await fakeServer('2.15.2', '2.10.0');
    const port = await connect(server.address);
    onTestFinished(() => port.close(100));
    const seen: NatsStatus[] = [];
    const next = (type: NatsStatus['type'], count: number): Promise<void> =>
      new Promise((resolve) => {
        const stop = port.onStatus((status) => {
          seen.push(status);
          if (seen.filter((it) => it.type === type).length < count) return;
          stop();
          resolve();
        });
      });
    const reported = next('error', 1);
    server.cut();
    await reported;
    expect(seen.at(-1)).toMatchObject({ error: expect.any(NatsTooOld) });
    const back = next('reconnected', 2);
    server.cut();
    await back;
    expect(seen.map(({ type }) => type).filter((type) => type === 'error')).toHaveLength(1);
  });

  test('notices a server that hangs, though there is more to write than it takes', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const server = await fakeServer('2.15.2');
    const port = await connect(server.address);
    onTestFinished(() => port.close(0));
    const noticed = new Promise<void>((resolve) => {
      port.onStatus(({ type }) => {
        if (type === 'disconnected') resolve();
      });
    });
    server.hang();
    // What the kernel keeps of a connection is less.
    for (let i = 0; i < 48 * 1024; i++) port.publish('a', Buffer.alloc(1_024));
    await vi.advanceTimersByTimeAsync(6_500);
    await noticed;
    expect(port.connected).toBe(false);
  });

  test('does without TLS only where none is asked for', async () => {
    const { address } = await fakeServer('2.15.2');
    const connecting = connect(address, { tls: {} });
    await expect(connecting).rejects.toThrow(NatsTlsFailed);
    await expect(connecting).rejects.toThrow('it speaks no TLS');
  });
});

describe('the files of a connection to NATS', () => {
  test('that are not there, or cannot be read, are named', async () => {
    const { address } = await fakeServer('2.15.2');
    const missing = '/nowhere/file';
    for (const options of [
      { credsFile: missing },
      { tls: { caFile: missing } },
      { tls: { certFile: missing } },
      { tls: { keyFile: missing } },
    ]) {
      const connecting = connect(address, options);
      await expect(connecting).rejects.toThrow(NatsFileUnusable);
      await expect(connecting).rejects.toThrow('in /nowhere/file cannot be used: there is no such file');
    }
    await expect(connect(address, { credsFile: tmpdir() })).rejects.toThrow('reading it fails with EISDIR');
  });

  test('that are something else are named, and nothing of them is told', async () => {
    const { address } = await fakeServer('2.15.2');
    const file = await fileOf('SUAsecret');
    for (const options of [{ credsFile: file }, { tls: { caFile: file } }, { tls: { keyFile: file } }]) {
      const error = (await connect(address, options).catch((caught: unknown) => caught)) as Error;
      expect(error).toBeInstanceOf(NatsFileUnusable);
      expect(error.message).toContain(file);
      expect(error.message).not.toContain('secret');
    }
  });
});
