import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { type PeerCertificate, checkServerIdentity } from 'node:tls';
import {
  type ConnectionOptions,
  type NatsConnection,
  connect,
  credsAuthenticator,
  errors,
} from '@nats-io/transport-node';

// The client's own defaults give up after 10 attempts and take minutes to notice a dead peer.
const RECONNECT_WAIT_MS = 100;
const RECONNECT_JITTER_MS = 200;
const PING_INTERVAL_MS = 2_000;
const PINGS_OUT_MAX = 2;
const DIAL_TIMEOUT_MS = 2_000;

/** What OpenSSL and Node call a certificate they do not trust, and a peer that does not trust ours. */
const TLS_ERROR_CODE = /^ERR_(TLS|SSL|OSSL)_|CERT|^UNABLE_TO_|SIGNATURE|CRL/;
const PLAIN_SERVER = "server does not support 'tls'";
const CREDENTIALS = /-----BEGIN NATS USER JWT-----[^]+-----BEGIN USER NKEY SEED-----/;

export interface NatsOptions {
  /** `HOST:PORT` each; others of their cluster are learned from them. */
  readonly servers: readonly string[];
  /** Shown by the server's monitoring. */
  readonly name: string;
  /** How long to try before the first connection; the last attempt takes up to 2 s. After it, reconnecting never ends. */
  readonly timeoutMs: number;
  /** A user's JWT and key as `nsc` writes them. Read for every connection, so that it may be replaced. */
  readonly credsFile?: string;
  /** Given, even if empty: only servers with TLS. Files are PEM, read for every connection. */
  readonly tls?: {
    /** Authorities trusted instead of the system's. */
    readonly caFile?: string;
    /** The client's own certificate, and its key. */
    readonly certFile?: string;
    readonly keyFile?: string;
  };
}

/** No server could be reached. */
export class NatsUnreachable extends Error {
  readonly code = 'NatsUnreachable';
  constructor({ servers, timeoutMs, tls }: NatsOptions, cause: unknown) {
    // A server that does not trust the client's certificate hangs up, and the client package says no more than that.
    const trust = tls === undefined ? '' : `, and does it trust ${clientOf(tls)}`;
    super(
      `no NATS server at ${servers.join(', ')} within ${timeoutMs / 1000} s: is it running, and is this its address${trust}?`,
      { cause },
    );
  }
}

/** A file that a connection needs cannot be read, or is not what it should be. */
export class NatsFileUnusable extends Error {
  readonly code = 'NatsFileUnusable';
  constructor(what: string, path: string, reason: string, cause?: unknown) {
    super(`the ${what} of NATS in ${path} cannot be used: ${reason}`, { cause });
  }
}

/** The server does not let this user in. */
export class NatsUnauthorized extends Error {
  readonly code = 'NatsUnauthorized';
  constructor({ servers, credsFile }: NatsOptions, cause: unknown) {
    const advice =
      credsFile === undefined
        ? 'it asks for credentials: give it a credentials file, or a client certificate if that is what it goes by'
        : `it does not accept ${credsFile}: is its user one of this server's, and neither expired nor revoked?`;
    super(`NATS at ${servers.join(', ')} refuses the connection: ${advice}`, { cause });
  }
}

/** No TLS connection came about. */
export class NatsTlsFailed extends Error {
  readonly code = 'NatsTlsFailed';
  constructor({ servers, tls = {} }: NatsOptions, reason: string, cause: unknown) {
    const authorities = tls.caFile ?? "the system's authorities (there is no CA file given)";
    const advice =
      reason === PLAIN_SERVER
        ? 'it speaks no TLS: configure it there, or give no TLS files here'
        : `does ${authorities} sign the server's certificate, is that valid for this address, and does the server trust ` +
          `${clientOf(tls)}?`;
    super(`no TLS connection to NATS at ${servers.join(', ')} (${reason}): ${advice}`, { cause });
  }
}

function clientOf({ certFile }: NonNullable<NatsOptions['tls']>): string {
  return certFile ?? 'clients without a certificate';
}

/**
 * A connection that lasts: once there is one, it is made anew for ever. Tries for `timeoutMs` where a server may yet
 * come; what waiting does not mend is thrown at once: NatsFileUnusable, NatsUnauthorized, NatsTlsFailed.
 */
export async function dial(options: NatsOptions): Promise<NatsConnection> {
  const { timeoutMs } = options;
  const settings = connectionOptions(options);
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const left = deadline - performance.now();
    try {
      return await connect(settings);
    } catch (error) {
      const lasting = lastingError(options, error);
      if (lasting !== undefined) throw lasting;
      if (left <= RECONNECT_WAIT_MS) throw new NatsUnreachable(options, error);
      await new Promise((resolve) => {
        setTimeout(resolve, RECONNECT_WAIT_MS);
      });
    }
  }
}

function connectionOptions({ servers, name, credsFile, tls }: NatsOptions): ConnectionOptions {
  for (const [what, path] of Object.entries(tls ?? {})) readPem(what as keyof typeof TLS_FILES, path);
  return {
    servers: [...servers],
    name,
    // For every attempt there will ever be, so it must not be what happens to be left for the first connection.
    timeout: DIAL_TIMEOUT_MS,
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_WAIT_MS,
    reconnectJitter: RECONNECT_JITTER_MS,
    reconnectJitterTLS: RECONNECT_JITTER_MS,
    pingInterval: PING_INTERVAL_MS,
    maxPingOut: PINGS_OUT_MAX,
    ignoreAuthErrorAbort: true,
    noAsyncTraces: true,
    ...(credsFile === undefined ? {} : { authenticator: credsAuthenticator(credentialsOf(credsFile)) }),
    ...(tls === undefined ? {} : { tls: tlsOptions(servers, tls) }),
  };
}

/**
 * The client package verifies a server that was given by an IP address as `localhost`, for it names none to Node. Its
 * certificate must be for one of the addresses given instead.
 */
function tlsOptions(
  servers: readonly string[],
  files: NonNullable<NatsOptions['tls']>,
): ConnectionOptions['tls'] & { readonly checkServerIdentity: typeof checkServerIdentity } {
  const hosts = servers.map((server) => server.replace(/:\d+$/, '').replaceAll(/^\[|\]$/g, ''));
  const unnamed = hosts.filter((host) => isIP(host) !== 0 || host === 'localhost');
  const verify = (host: string, certificate: PeerCertificate): Error | undefined => {
    const names = host === 'localhost' && unnamed.length > 0 ? unnamed : [host];
    const mismatches = names.map((name) => checkServerIdentity(name, certificate));
    return mismatches.includes(undefined) ? undefined : mismatches[0];
  };
  return { ...files, checkServerIdentity: verify };
}

const TLS_FILES = {
  caFile: { what: 'certificate authorities', begin: /-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----/ },
  certFile: { what: 'client certificate', begin: /-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----/ },
  keyFile: { what: 'client key', begin: /-----BEGIN ([A-Z]+ )?PRIVATE KEY-----/ },
};

function readPem(kind: keyof typeof TLS_FILES, path: string): void {
  const { what, begin } = TLS_FILES[kind];
  if (!begin.test(readText(what, path))) throw new NatsFileUnusable(what, path, 'it holds none in PEM');
}

/** Gives the credentials in `path` as they are then; if they cannot be read, those before. */
function credentialsOf(path: string): () => Uint8Array {
  let last = readCredentials(path);
  return () => {
    try {
      last = readCredentials(path);
    } catch (error) {
      // It is being replaced: the connection is tried with what there was, and what is wrong with it shows there.
      if (!(error instanceof NatsFileUnusable)) throw error;
    }
    return last;
  };
}

function readCredentials(path: string): Uint8Array {
  // The client reads no other ends of lines.
  const text = readText('credentials', path).replaceAll('\r\n', '\n');
  if (!CREDENTIALS.test(text)) {
    throw new NatsFileUnusable(
      'credentials',
      path,
      'it holds no user JWT with its seed, as `nsc generate creds` writes',
    );
  }
  return new TextEncoder().encode(text);
}

function readText(what: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'there is no such file' : `reading it fails with ${code}`;
    throw new NatsFileUnusable(what, path, reason, error);
  }
}

/** The error to throw where trying again is of no use. */
function lastingError(options: NatsOptions, error: unknown): Error | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (cause instanceof errors.AuthorizationError && /violation|expired/i.test(cause.message)) {
      return new NatsUnauthorized(options, error);
    }
    if (cause instanceof errors.UserAuthenticationExpiredError) return new NatsUnauthorized(options, error);
    if (cause.message === PLAIN_SERVER) return new NatsTlsFailed(options, PLAIN_SERVER, error);
    if (typeof code === 'string' && TLS_ERROR_CODE.test(code)) return new NatsTlsFailed(options, code, error);
  }
  return undefined;
}
