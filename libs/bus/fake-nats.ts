import {
  type NatsMessage,
  NatsDisconnected,
  NatsNoResponders,
  type NatsPort,
  type NatsStatus,
  type PublishExtras,
} from './nats-port.ts';

const NO_RESPONDERS = 503;

interface Message {
  readonly subject: string;
  readonly data: Buffer;
  readonly reply: string;
  readonly status: number;
}

interface Subscription {
  readonly port: FakePort;
  readonly pattern: readonly string[];
  readonly queue: string | undefined;
  readonly onMessage: (message: NatsMessage) => void;
}

/** A NATS server in memory for tests: core NATS only, delivery in order and later, never within `publish`. */
export class FakeNats {
  readonly maxPayloadBytes: number;
  /** What becomes of a message on its way; by default it is delivered once. */
  fate: (message: Message) => readonly Message[] = (message) => [message];
  readonly #subscriptions = new Set<Subscription>();
  readonly #waiting: Message[] = [];
  #delivering = false;

  constructor({ maxPayloadBytes = 1024 * 1024 } = {}) {
    this.maxPayloadBytes = maxPayloadBytes;
  }

  connect(): FakePort {
    return new FakePort(this);
  }

  /** Resolves once nothing is under way. */
  async settle(): Promise<void> {
    do {
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    } while (this.#waiting.length > 0);
  }

  send(message: Message): void {
    this.#waiting.push(...this.fate(message));
    if (this.#delivering) return;
    this.#delivering = true;
    setImmediate(() => {
      while (this.#waiting.length > 0) this.#deliver(this.#waiting.shift()!);
      this.#delivering = false;
    });
  }

  add(subscription: Subscription): () => void {
    this.#subscriptions.add(subscription);
    return () => this.#subscriptions.delete(subscription);
  }

  #deliver(message: Message): void {
    const takers = [...this.#subscriptions].filter(
      ({ pattern, port }) => port.connected && matches(pattern, message.subject.split('.')),
    );
    const queues = new Set<string>();
    for (const { onMessage, queue } of takers) {
      if (queue !== undefined && queues.size === queues.add(queue).size) continue;
      onMessage({ ...message, description: '', header: () => '' });
    }
    if (takers.length === 0 && message.reply !== '') {
      this.send({ subject: message.reply, data: Buffer.alloc(0), reply: '', status: NO_RESPONDERS });
    }
  }
}

/** One client's connection; `break` and `mend` are what the network does. */
export class FakePort implements NatsPort {
  readonly #nats: FakeNats;
  readonly #listeners = new Set<(status: NatsStatus) => void>();
  /** False: the server takes nothing off the connection, and confirms nothing. */
  taking = true;
  #unconfirmed: { resolve: () => void; reject: (error: Error) => void }[] = [];
  #connected = true;
  #inboxes = 0;

  constructor(nats: FakeNats) {
    this.#nats = nats;
  }

  get server() {
    return { name: 'fake', version: '2.15.2', maxPayloadBytes: this.#nats.maxPayloadBytes, jetStream: false };
  }

  get connected(): boolean {
    return this.#connected;
  }

  publish(subject: string, data: Uint8Array, { reply = '' }: PublishExtras = {}): void {
    if (data.length > this.#nats.maxPayloadBytes) throw new RangeError('longer than max_payload');
    if (this.#connected) this.#nats.send({ subject, data: Buffer.from(data), reply, status: 0 });
  }

  subscribe(subject: string, onMessage: (message: NatsMessage) => void, queue?: string): () => void {
    return this.#nats.add({ port: this, pattern: subject.split('.'), queue, onMessage });
  }

  request(subject: string): Promise<NatsMessage> {
    return Promise.reject(new NatsNoResponders(subject));
  }

  async flush(): Promise<void> {
    if (!this.taking || !this.#connected) {
      await new Promise<void>((resolve, reject) => this.#unconfirmed.push({ resolve, reject }));
    }
    await this.#nats.settle();
  }

  /** The server goes on taking. */
  take(): void {
    this.taking = true;
    for (const { resolve } of this.#unconfirmed.splice(0)) resolve();
  }

  newInbox(): string {
    return `_INBOX.${this.#inboxes++}${Math.random().toString(36).slice(2)}`;
  }

  onStatus(listener: (status: NatsStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  break(): void {
    this.#connected = false;
    for (const { reject } of this.#unconfirmed.splice(0)) reject(new NatsDisconnected());
    for (const listener of this.#listeners) listener({ type: 'disconnected', server: 'fake' });
  }

  mend(): void {
    this.#connected = true;
    for (const listener of this.#listeners) listener({ type: 'reconnected', server: 'fake' });
  }

  async close(): Promise<void> {
    await this.#nats.settle();
    this.#connected = false;
  }
}

function matches(pattern: readonly string[], subject: readonly string[]): boolean {
  if (pattern.at(-1) === '>')
    return subject.length >= pattern.length && matches(pattern.slice(0, -1), subject.slice(0, pattern.length - 1));
  return pattern.length === subject.length && pattern.every((token, i) => token === '*' || token === subject[i]);
}
