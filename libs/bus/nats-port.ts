import {
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  type ServerInfo,
  type Status,
  createInbox,
  errors,
  headers as createHeaders,
} from '@nats-io/transport-node';
import { type NatsOptions, dial } from './nats-dial.ts';

/** Header fences and delete markers exist from here on; older servers ignore them silently. */
export const OLDEST_SERVER = '2.11';

export interface NatsServerFacts {
  readonly name: string;
  readonly version: string;
  /** No message may be longer, headers included. */
  readonly maxPayloadBytes: number;
  readonly jetStream: boolean;
}

/** A message as it came. `data` is a view into the socket's chunk: copy what is kept. */
export interface NatsMessage {
  readonly subject: string;
  readonly data: Buffer;
  /** "" if no reply is wanted. */
  readonly reply: string;
  /** A server's own message: 503 no responders, 100 flow control and heartbeats; 0 for everybody else's. */
  readonly status: number;
  /** What the server says beside `status`. */
  readonly description: string;
  /** Value of a header, "" if there is none. */
  header(name: string): string;
}

export interface PublishExtras {
  readonly reply?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface PortRequestOptions {
  readonly timeoutMs: number;
  readonly headers?: Readonly<Record<string, string>>;
}

export type NatsStatus =
  | { readonly type: 'disconnected'; readonly server: string }
  | { readonly type: 'reconnected'; readonly server: string }
  /** The server is about to shut down and cuts its clients one by one. */
  | { readonly type: 'lame-duck'; readonly server: string }
  | { readonly type: 'error'; readonly error: Error };

/** What dogwatch needs of a NATS client package: the one door to it. */
export interface NatsPort {
  /** Of the server connected to, or last connected to. */
  readonly server: NatsServerFacts;
  readonly connected: boolean;
  /** Hands bytes to the socket without waiting. What is published while disconnected may or may not be sent later. */
  publish(subject: string, data: Uint8Array, extras?: PublishExtras): void;
  /** Calls `onMessage` in the order the server sends, also after reconnects; it must not throw. Returns how to stop. */
  subscribe(subject: string, onMessage: (message: NatsMessage) => void, queue?: string): () => void;
  /** One request, one answer. Throws NatsNoResponders, NatsTimeout, NatsDisconnected. */
  request(subject: string, data: Uint8Array, options: PortRequestOptions): Promise<NatsMessage>;
  /** Resolves once the server has taken everything given before; throws NatsDisconnected if the connection breaks. */
  flush(): Promise<void>;
  /** A subject nobody else uses; `SUBJECT.x` is the owner's, too. */
  newInbox(): string;
  onStatus(listener: (status: NatsStatus) => void): () => void;
  /** Lets subscriptions and the socket run dry, at most for `timeoutMs`, and closes. */
  close(timeoutMs: number): Promise<void>;
}

/** The server does not know the headers that fence a deposed publisher. */
export class NatsTooOld extends Error {
  readonly code = 'NatsTooOld';
  constructor({ name, version }: NatsServerFacts) {
    super(`NATS server ${name} is version ${version}; dogwatch needs ${OLDEST_SERVER} or newer: upgrade it`);
  }
}

export class NatsNoResponders extends Error {
  readonly code = 'NatsNoResponders';
  constructor(subject: string) {
    super(`nobody answers on ${subject}`);
  }
}

export class NatsTimeout extends Error {
  readonly code = 'NatsTimeout';
  constructor(subject: string, timeoutMs: number) {
    super(`no answer on ${subject} within ${timeoutMs} ms`);
  }
}

export class NatsDisconnected extends Error {
  readonly code = 'NatsDisconnected';
  /** We closed it: it does not come back. */
  readonly closed: boolean;
  constructor(cause?: unknown, closed = false) {
    super(closed ? 'the connection to NATS is closed' : 'the connection to NATS broke', { cause });
    this.closed = closed;
  }
}

/** Throws NatsUnreachable, NatsTooOld, NatsFileUnusable, NatsUnauthorized, NatsTlsFailed. */
export async function connectNats(options: NatsOptions): Promise<NatsPort> {
  const connection = await dial(options);
  const port = new TransportPort(connection);
  if (isOlder(port.server.version, OLDEST_SERVER)) {
    await connection.close();
    throw new NatsTooOld(port.server);
  }
  return port;
}

/** Compares MAJOR.MINOR. */
function isOlder(version: string, than: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [thanMajor = 0, thanMinor = 0] = than.split('.').map(Number);
  return major < thanMajor || (major === thanMajor && minor < thanMinor);
}

/** What the client package's connection has inside and does not show. */
interface ClientConnection {
  readonly protocol: { readonly transport: { close(error: Error): Promise<void> } };
}

/** The port over @nats-io/transport-node. */
class TransportPort implements NatsPort {
  readonly #connection: NatsConnection;
  readonly #listeners = new Set<(status: NatsStatus) => void>();
  /** Server and version that was reported as too old last. */
  #tooOld = '';
  #info: ServerInfo | undefined;
  #server: NatsServerFacts = { name: '', version: '0.0', maxPayloadBytes: 0, jetStream: false };
  #connected = true;

  constructor(connection: NatsConnection) {
    this.#connection = connection;
    void this.#readStatus();
  }

  get server(): NatsServerFacts {
    const { info } = this.#connection;
    if (info !== undefined && info !== this.#info) {
      this.#info = info;
      this.#server = {
        name: info.server_name,
        version: info.version,
        maxPayloadBytes: info.max_payload,
        jetStream: info.jetstream === true,
      };
    }
    return this.#server;
  }

  get connected(): boolean {
    return this.#connected && !this.#connection.isClosed();
  }

  publish(subject: string, data: Uint8Array, { reply, headers }: PublishExtras = {}): void {
    if (reply === undefined && headers === undefined) {
      this.#connection.publish(subject, data);
      return;
    }
    this.#connection.publish(subject, data, {
      ...(reply === undefined ? {} : { reply }),
      ...(headers === undefined ? {} : { headers: encodedHeaders(headers) }),
    });
  }

  subscribe(subject: string, onMessage: (message: NatsMessage) => void, queue?: string): () => void {
    const subscription = this.#connection.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error, message) => {
        if (error !== null) this.#announce({ type: 'error', error });
        else onMessage(new TransportMessage(message));
      },
    });
    return () => subscription.unsubscribe();
  }

  async request(subject: string, data: Uint8Array, { timeoutMs, headers }: PortRequestOptions): Promise<NatsMessage> {
    const extras = headers === undefined ? {} : { headers: encodedHeaders(headers) };
    try {
      return new TransportMessage(await this.#connection.request(subject, data, { timeout: timeoutMs, ...extras }));
    } catch (error) {
      if (error instanceof errors.NoRespondersError) throw new NatsNoResponders(subject);
      if (error instanceof errors.RequestError && error.isNoResponders()) throw new NatsNoResponders(subject);
      if (error instanceof errors.TimeoutError) throw new NatsTimeout(subject, timeoutMs);
      throw new NatsDisconnected(error, this.#connection.isClosed());
    }
  }

  async flush(): Promise<void> {
    try {
      await this.#connection.flush();
    } catch (error) {
      throw new NatsDisconnected(error);
    }
  }

  newInbox(): string {
    return createInbox();
  }

  onStatus(listener: (status: NatsStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    // A connection that is down, or goes down now, cannot run dry: what it held is lost, as in any disconnect.
    if (this.connected) await Promise.race([this.#connection.drain().catch(() => {}), late]);
    clearTimeout(timer);
    await this.#connection.close();
  }

  async #readStatus(): Promise<void> {
    for await (const status of this.#connection.status()) this.#onStatus(status);
  }

  #onStatus(status: Status): void {
    switch (status.type) {
      case 'disconnect':
        this.#connected = false;
        this.#announce({ type: 'disconnected', server: status.server });
        break;
      case 'reconnect':
        this.#connected = true;
        this.#announce({ type: 'reconnected', server: status.server });
        this.#checkVersion();
        break;
      case 'ldm':
        this.#announce({ type: 'lame-duck', server: status.server });
        break;
      case 'error':
        this.#announce({ type: 'error', error: status.error });
        break;
      case 'staleConnection':
        this.#cut();
        break;
      default:
    }
  }

  /**
   * The server hangs. The client package first lets what it has written run dry, which a server that hangs with full
   * buffers never takes: it would wait for ever, and believe itself connected. With an error it closes at once.
   */
  #cut(): void {
    const { transport } = (this.#connection as unknown as ClientConnection).protocol;
    void transport.close(new NatsDisconnected());
  }

  /** Servers of a cluster are upgraded, and perhaps taken back, one by one. */
  #checkVersion(): void {
    const { server } = this;
    const name = `${server.name} ${server.version}`;
    if (!isOlder(server.version, OLDEST_SERVER) || name === this.#tooOld) return;
    this.#tooOld = name;
    this.#announce({ type: 'error', error: new NatsTooOld(server) });
  }

  #announce(status: NatsStatus): void {
    for (const listener of this.#listeners) listener(status);
  }
}

function encodedHeaders(headers: Readonly<Record<string, string>>): MsgHdrs {
  const encoded = createHeaders();
  for (const [name, value] of Object.entries(headers)) encoded.set(name, value);
  return encoded;
}

class TransportMessage implements NatsMessage {
  readonly #message: Msg;

  constructor(message: Msg) {
    this.#message = message;
  }

  get subject(): string {
    return this.#message.subject;
  }

  get data(): Buffer {
    const { data } = this.#message;
    return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  }

  get reply(): string {
    return this.#message.reply ?? '';
  }

  get status(): number {
    return this.#message.headers?.code ?? 0;
  }

  get description(): string {
    return this.#message.headers?.description ?? '';
  }

  header(name: string): string {
    return this.#message.headers?.get(name) ?? '';
  }
}
