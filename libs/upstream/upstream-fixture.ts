import { createSecureServer, type Http2SecureServer, type SecureServerOptions } from 'node:http2';
import { type AddressInfo, type Server, type Socket } from 'node:net';
import { CertificateAuthority, type KeyPair } from '@dogwatch/test/support/certificates.ts';
import { type ClusterAccess, type ClusterUser } from './cluster-access.ts';
import { createUpstream, type UpstreamOptions } from './upstream-client.ts';
import { type Upstream } from './upstream.ts';

/** For tests: one authority and one server certificate (127.0.0.1, localhost) per test file. */
export const authority = new CertificateAuthority('test authority');
const serverPair = authority.server();

/** Options of a TLS server with a certificate of `authority`. */
export const serverTls = { cert: serverPair.certificate, key: serverPair.privateKey };

const NOBODY: ClusterUser = {
  token: undefined,
  tokenFile: undefined,
  basic: undefined,
  certificate: undefined,
  exec: undefined,
};

export interface AccessOptions {
  readonly port: number;
  readonly user?: Partial<ClusterUser>;
  readonly access?: Partial<ClusterAccess>;
}

/** Access to https://127.0.0.1:`port`, trusting `authority`. */
export function accessTo({ port, user, access }: AccessOptions): ClusterAccess {
  return {
    source: 'test',
    server: new URL(`https://127.0.0.1:${port}`),
    tlsServerName: undefined,
    insecureSkipTlsVerify: false,
    certificateAuthority: { kind: 'data', pem: Buffer.from(authority.certificate) },
    user: { ...NOBODY, ...user },
    ...access,
  };
}

/** A client certificate as a user has it. */
export function certificateUser({ certificate, privateKey }: KeyPair): Partial<ClusterUser> {
  return {
    certificate: {
      certificate: { kind: 'data', pem: Buffer.from(certificate) },
      key: { kind: 'data', pem: Buffer.from(privateKey) },
    },
  };
}

/** Everything a test opens, closed together at its end. */
export class Fixture {
  readonly #closers: (() => Promise<void> | void)[] = [];
  readonly problems: Error[] = [];

  async close(): Promise<void> {
    for (const closer of this.#closers.splice(0).toReversed()) await closer();
  }

  /** The port it listens on; its connections are destroyed at the end. */
  async listen(server: Server): Promise<number> {
    const sockets = new Set<Socket>();
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    this.#closers.push(
      () =>
        new Promise<void>((resolve) => {
          server.close(() => resolve());
          for (const socket of sockets) socket.destroy();
        }),
    );
    return (server.address() as AddressInfo).port;
  }

  upstream(access: ClusterAccess, options: Partial<UpstreamOptions> = {}): Upstream {
    const upstream = createUpstream(access, {
      env: {},
      onProblem: (problem) => this.problems.push(problem),
      ...options,
    });
    this.#closers.push(() => upstream.close());
    return upstream;
  }

  /** An HTTP/2 server over TLS with a certificate of `authority`. */
  async http2(options: SecureServerOptions = {}): Promise<{ server: Http2SecureServer; port: number }> {
    const server = createSecureServer({ ...serverTls, ...options });
    // A client that goes away is no failure of a test.
    server.on('sessionError', () => undefined);
    server.on('stream', (stream) => stream.on('error', () => undefined));
    return { server, port: await this.listen(server) };
  }
}
