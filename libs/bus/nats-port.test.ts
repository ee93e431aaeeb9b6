import { type AddressInfo, type Socket, createServer } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { NatsTooOld, NatsUnreachable, connectNats } from './nats-port.ts';

/** A server that says it is `version` and takes connections; it cannot do more. Resolves with its address. */
async function fakeServer(version: string): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
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
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const connect = (server: string) => connectNats({ servers: [server], name: 'test', timeoutMs: 500 });

describe('connecting to NATS', () => {
  test.each(['1.4.1', '2.2.0', '2.9.10', '2.10.29'])('refuses server %s, which knows no fence', async (version) => {
    const connecting = connect(await fakeServer(version));
    await expect(connecting).rejects.toThrow(NatsTooOld);
    await expect(connecting).rejects.toThrow(`version ${version}; dogwatch needs 2.11 or newer`);
  });

  test.each(['2.11.0', '2.11.0-RC.1', '2.15.2', '3.0.0'])('takes server %s', async (version) => {
    const port = await connect(await fakeServer(version));
    expect(port.server).toEqual({ name: 's', version, maxPayloadBytes: 1024, jetStream: false });
    await port.close(100);
    expect(port.connected).toBe(false);
  });

  test('gives up where there is none', async () => {
    const connecting = connect('127.0.0.1:1');
    await expect(connecting).rejects.toThrow(NatsUnreachable);
    await expect(connecting).rejects.toThrow('127.0.0.1:1 within 0.5 s');
  });
});
