import { connect as connectTcp, isIP, type Socket } from 'node:net';
import {
  checkServerIdentity,
  connect as connectTls,
  createSecureContext,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { type ClusterAccess, type PemSource } from './cluster-access.ts';
import { type ClientCertificate, type Credential } from './credential.ts';
import { KubeconfigError } from './kubeconfig-error.ts';
import { RotatedFile } from './rotated-file.ts';
import { UpstreamUnreachable } from './upstream-error.ts';

/** Idle time after which the kernel asks whether the peer still lives; it gives up 10 s later. */
const KEEP_ALIVE_MS = 15_000;

export interface DialerOptions {
  readonly access: ClusterAccess;
  /** Whose client certificate the connections carry; undefined: none, ever. */
  readonly credential: Credential | undefined;
  readonly connectTimeoutMs: number;
  readonly onProblem: (problem: Error) => void;
}

export interface Dialed {
  /** Ready for use: the handshake is done and the server's certificate verified. */
  readonly socket: Socket | TLSSocket;
  /** What ALPN chose; http/1.1 if nothing. */
  readonly protocol: 'h2' | 'http/1.1';
  /** The client certificate it carries. */
  readonly certificate: ClientCertificate | undefined;
}

interface Authority {
  readonly pem: Buffer | undefined;
  readonly certificate: ClientCertificate | undefined;
}

/** Opens connections to one server for one identity. */
export class Dialer {
  readonly #options: DialerOptions;
  readonly #readAuthority: () => Promise<Buffer | undefined>;
  #context: (Authority & { readonly secure: SecureContext }) | undefined;
  /** host:port, for messages. */
  readonly host: string;

  constructor(options: DialerOptions) {
    this.#options = options;
    const { server, certificateAuthority } = options.access;
    this.host = `${server.hostname}:${portOf(server)}`;
    this.#readAuthority = authorityReader(certificateAuthority, options.onProblem);
  }

  /** The client certificate a new connection would carry, as known at most `maxAge` milliseconds ago. */
  async certificate(maxAge: number): Promise<ClientCertificate | undefined> {
    return this.#options.credential?.certificate(maxAge);
  }

  /** Throws UpstreamUnreachable, or KubeconfigError if a certificate cannot be had. */
  async dial(protocols: readonly Dialed['protocol'][]): Promise<Dialed> {
    const { server } = this.#options.access;
    // An IPv6 address stands in brackets in a URL only.
    const target = { host: server.hostname.replace(/^\[(.*)\]$/, '$1'), port: portOf(server) };
    if (server.protocol === 'http:') {
      const socket = await this.#ready(connectTcp(target), 'connect');
      return { socket, protocol: 'http/1.1', certificate: undefined };
    }
    const context = await this.#secureContext();
    const { tlsServerName, insecureSkipTlsVerify } = this.#options.access;
    const name = tlsServerName ?? target.host;
    const socket = connectTls({
      ...target,
      servername: isIP(name) === 0 ? name : '',
      secureContext: context.secure,
      ALPNProtocols: [...protocols],
      rejectUnauthorized: !insecureSkipTlsVerify,
      checkServerIdentity: (_host, certificate) => checkServerIdentity(name, certificate),
    });
    await this.#ready(socket, 'secureConnect');
    return { socket, protocol: socket.alpnProtocol === 'h2' ? 'h2' : 'http/1.1', certificate: context.certificate };
  }

  async #ready<S extends Socket>(socket: S, event: 'connect' | 'secureConnect'): Promise<S> {
    const { connectTimeoutMs } = this.#options;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    return new Promise((resolve, reject) => {
      const fail = (error: UpstreamUnreachable) => {
        clearTimeout(timer);
        socket.removeAllListeners(event).removeAllListeners('close');
        // A late error of a socket given up must not become an uncaught one.
        socket.on('error', () => undefined).destroy();
        reject(error);
      };
      const timer = setTimeout(
        () => fail(new UpstreamUnreachable({ code: 'timeout', host: this.host })),
        connectTimeoutMs,
      );
      const onError = (cause: Error) => fail(UpstreamUnreachable.from(cause, this.host));
      const onClose = () => fail(new UpstreamUnreachable({ code: 'connection_lost', host: this.host }));
      socket.once('error', onError).once('close', onClose);
      socket.once(event, () => {
        clearTimeout(timer);
        socket.off('error', onError).off('close', onClose);
        resolve(socket);
      });
    });
  }

  /** The last context again while authority and certificate are the same. */
  async #secureContext(): Promise<Authority & { readonly secure: SecureContext }> {
    const [pem, certificate] = await Promise.all([this.#readAuthority(), this.certificate(0)]);
    const held = this.#context;
    if (held !== undefined && held.pem === pem && sameCertificate(held.certificate, certificate)) return held;
    try {
      const secure = createSecureContext({
        ...(pem === undefined ? {} : { ca: pem }),
        ...(certificate === undefined ? {} : { cert: certificate.certificate, key: certificate.key }),
      });
      this.#context = { pem, certificate, secure };
      return this.#context;
    } catch (cause) {
      const problem = new KubeconfigError(
        'invalid_field',
        `a certificate or key for ${this.host} (${this.#options.access.source}) is not valid PEM, or they do not belong together`,
        { cause },
      );
      // Certificate and key are replaced one after the other: between the two, the old pair goes on.
      if (held === undefined) throw problem;
      this.#options.onProblem(problem);
      return held;
    }
  }
}

/** Whether both are the same PEM, or none. */
export function sameCertificate(a: ClientCertificate | undefined, b: ClientCertificate | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.certificate.equals(b.certificate) && a.key.equals(b.key);
}

function portOf(server: URL): number {
  if (server.port !== '') return Number(server.port);
  return server.protocol === 'https:' ? 443 : 80;
}

function authorityReader(
  source: PemSource | undefined,
  onProblem: (problem: Error) => void,
): () => Promise<Buffer | undefined> {
  if (source === undefined) return () => Promise.resolve(undefined);
  if (source.kind === 'data') return () => Promise.resolve(source.pem);
  const file = new RotatedFile({ path: source.path, onProblem });
  return () => file.read(0);
}
