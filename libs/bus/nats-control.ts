import assert from 'node:assert';
import { type Clock, sleep } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { type Control, ControlConflict, type ControlEntry, ControlUnavailable } from './control.ts';
import { ControlView } from './control-view.ts';
import { StreamReplaced } from './nats-appender.ts';
import { NoJetStream } from './nats-log.ts';
import { UNSETTLED, patiently } from './nats-patience.ts';
import { type NatsMessage, type NatsPort, NatsTimeout } from './nats-port.ts';
import { NatsPush, type PushedPlace } from './nats-push.ts';
import { JetStreamError, NatsStream, type StoredMessage, type StreamFacts } from './nats-stream.ts';
import { DEFAULT_SUBJECT_PREFIX, controlStreamName, controlSubject } from './nats-subject.ts';

const MEBIBYTE = 1024 * 1024;
/** Entries are small and few. At the bound the oldest go, which are those nobody renews. */
const MAX_BYTES = 16 * MEBIBYTE;
/** Nothing is recognised by its id here; the server wants a window. */
const DUPLICATE_WINDOW_MS = 1_000;
/** Shorter than holders of a lease have for being late. */
const PUT_TIMEOUT_MS = 750;
const SEEN_TIMEOUT_MS = 3_000;
const OPEN_TIMEOUT_MS = 30_000;
/** How long a removal is told; a reader that was away for longer finds out by what is left. */
const REMOVAL_TTL = '60s';
/** Room for the headers of a put. */
const HEADER_BYTES_MAX = 1_024;
const EXPECTED = 'Nats-Expected-Last-Subject-Sequence';
const WRONG_LAST_SEQUENCE = 10_071;
const UNSETTLED_WAIT_MS = 20;
const ATTEMPTS_MAX = 10;

export interface NatsControlOptions {
  readonly port: NatsPort;
  readonly clock: Clock;
  readonly log: Log;
  /** Default `dogwatch`. */
  readonly prefix?: string;
  /** How the table is stored, if it is to be made where there is none; without it, it is as others have made it. */
  readonly stored?: {
    /** Servers that keep a copy: 1, 3 or 5. */
    readonly replicas: number;
    readonly storage: 'file' | 'memory';
  };
  /** How long it may take until the table can be read. Default 30 s. */
  readonly timeoutMs?: number;
}

/** Nobody has made the table. */
export class NoControlTable extends Error {
  readonly code = 'NoControlTable';
  constructor(prefix: string) {
    super(`no dogwatch has run on this NATS under the prefix ${prefix}: are these its servers, and its prefix?`);
  }
}

/** Resolves once all there is in the table was seen. Throws NoJetStream, NoControlTable, ControlUnavailable. */
export async function createNatsControl(options: NatsControlOptions): Promise<NatsControl> {
  const { port, clock, prefix = DEFAULT_SUBJECT_PREFIX, stored, timeoutMs = OPEN_TIMEOUT_MS } = options;
  if (!port.server.jetStream) throw new NoJetStream(port.server.name);
  if (stored === undefined) {
    const stream = new NatsStream(port, controlStreamName(prefix));
    const facts = await patiently({ clock, patienceMs: timeoutMs }, () => stream.facts());
    if (facts === undefined) throw new NoControlTable(prefix);
  }
  const control = new NatsControl(options);
  const late = clock.setTimeout(() => void control.close(), timeoutMs);
  try {
    await control.opened;
    return control;
  } finally {
    late.cancel();
  }
}

/** What a message of the stream says; `value` is missing where the entry was removed. */
interface Body {
  readonly key: string;
  readonly value?: unknown;
}

interface Waiter {
  readonly sequence: number;
  readonly resolve: () => void;
  readonly reject: (error: ControlUnavailable) => void;
}

/**
 * The control table as a JetStream stream that keeps the last message of every subject, one subject for each key. The
 * version of an entry is its stream sequence. What is in the table comes to be known by reading the stream alone.
 *
 * A stream that was lost is made again by whoever notices, and begins at the time of day in milliseconds, which no
 * sequence of the one before has reached: versions of the two are never mistaken for each other.
 */
export class NatsControl implements Control {
  /** Resolves once all there is was seen; rejects if it is closed before. */
  readonly opened: Promise<void>;
  readonly #options: NatsControlOptions;
  readonly #prefix: string;
  readonly #stream: NatsStream;
  readonly #view = new ControlView();
  readonly #push: NatsPush;
  readonly #opening = Promise.withResolvers<void>();
  readonly #closing = new AbortController();
  readonly #waiters = new Set<Waiter>();
  /** When the stream was created; undefined until it was first looked at. */
  #created: string | undefined;
  /** Everything up to this sequence was seen. */
  #cursor = 0;
  /** Keys that came since the stream is read anew; undefined once all there was has come. */
  #snapshot: Set<string> | undefined;
  #verifying: Promise<void> | undefined;

  constructor(options: NatsControlOptions) {
    const { port, clock, log, prefix = DEFAULT_SUBJECT_PREFIX } = options;
    this.#options = options;
    this.#prefix = prefix;
    this.opened = this.#opening.promise;
    this.#stream = new NatsStream(port, controlStreamName(prefix));
    this.#push = new NatsPush({
      stream: this.#stream,
      port,
      clock,
      log,
      subject: `${prefix}.control.>`,
      prepare: () => this.#prepare(),
      onStarted: (pending) => {
        if (pending === 0) this.#endSnapshot();
      },
      onMessage: (message, place) => this.#onMessage(message, place),
    });
  }

  entry(key: string): ControlEntry | undefined {
    return this.#view.entry(key);
  }

  entries(prefix: string): ReadonlyMap<string, ControlEntry> {
    return this.#view.entries(prefix);
  }

  watch(prefix: string, onChange: (key: string, entry: ControlEntry | undefined) => void): () => void {
    return this.#view.watch(prefix, onChange);
  }

  onDisturbed(listener: () => void): () => void {
    return this.#view.onDisturbed(listener);
  }

  /** Puts a mark and waits until it is seen, so it also proves that the table takes what is put. */
  async caughtUp(): Promise<void> {
    const sequence = await this.#append('', this.#markSubject, Buffer.alloc(0), {});
    if (this.#cursor >= sequence) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = { sequence, resolve, reject };
    this.#waiters.add(waiter);
    const late = this.#options.clock.setTimeout(() => {
      reject(new ControlUnavailable('', new NatsTimeout(this.#markSubject, SEEN_TIMEOUT_MS)));
    }, SEEN_TIMEOUT_MS);
    try {
      await promise;
    } finally {
      late.cancel();
      this.#waiters.delete(waiter);
    }
  }

  /** Also throws RangeError if the entry does not fit into a message. */
  async put(key: string, value: unknown, expected?: number): Promise<number> {
    assert(value !== undefined, 'undefined is no value: remove the entry');
    return this.#change({ key, value }, expected, {});
  }

  async remove(key: string, expected?: number): Promise<void> {
    await this.#change({ key }, expected, { 'Nats-TTL': REMOVAL_TTL });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#push.close();
    const closed = new ControlUnavailable('', this.#push.failure ?? new Error('closed'));
    this.#opening.reject(closed);
    for (const { reject } of this.#waiters) reject(closed);
    await this.#verifying?.catch(() => {});
  }

  /** No key has this subject: in the token of one, two hexadecimal digits follow a `=`. */
  get #markSubject(): string {
    return `${this.#prefix}.control.=mark`;
  }

  async #change(body: Body, expected: number | undefined, headers: Readonly<Record<string, string>>): Promise<number> {
    const { key } = body;
    const { clock, port } = this.#options;
    const data = Buffer.from(JSON.stringify(body));
    if (data.length > port.server.maxPayloadBytes - HEADER_BYTES_MAX) {
      throw new RangeError(`control entry ${key} of ${data.length} bytes does not fit into a NATS message`);
    }
    const subject = controlSubject(this.#prefix, key);
    let none = 0;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const before = expected === undefined ? undefined : this.#view.stored(key, expected);
      const fence: Record<string, string> = before === undefined ? {} : { [EXPECTED]: String(before || none) };
      try {
        return await this.#append(key, subject, data, { ...headers, ...fence });
      } catch (error) {
        if (!isRejected(error)) throw error;
        if (error.errorCode === UNSETTLED) await sleep(clock, UNSETTLED_WAIT_MS, this.#closing.signal);
        else if (before === 0) none = await this.#sequenceOfNone(key, subject);
        else if (!(await this.#wasReplaced(key))) throw new ControlConflict(key);
      }
    }
    throw new ControlUnavailable(key, new Error(`${ATTEMPTS_MAX} puts met those of others`));
  }

  /** Throws ControlUnavailable, and JetStreamError where it was not put because of what is there. */
  async #append(
    key: string,
    subject: string,
    data: Buffer,
    headers: Readonly<Record<string, string>>,
  ): Promise<number> {
    try {
      this.#closing.signal.throwIfAborted();
      return await this.#stream.append(subject, data, headers, PUT_TIMEOUT_MS);
    } catch (error) {
      if (isRejected(error)) throw error;
      // A failure is logged there.
      this.#verify().catch(() => {});
      throw new ControlUnavailable(key, error);
    }
  }

  /** Last sequence of a key without an entry: that of its removal, if it is not forgotten. */
  async #sequenceOfNone(key: string, subject: string): Promise<number> {
    let last: StoredMessage | undefined;
    try {
      last = await this.#stream.last(subject);
    } catch (error) {
      throw new ControlUnavailable(key, error);
    }
    if (last === undefined) return 0;
    if (bodyOf(last.data).value !== undefined) throw new ControlConflict(key);
    return last.sequence;
  }

  /** Whether the stream turns out to be another than the one that was read. Throws ControlUnavailable. */
  async #wasReplaced(key: string): Promise<boolean> {
    try {
      await this.#verify();
      return false;
    } catch (error) {
      if (error instanceof StreamReplaced) return true;
      throw new ControlUnavailable(key, error);
    }
  }

  /** Throws StreamReplaced if the stream is not the one that is read, which then is read anew, or cannot be looked at. */
  #verify(): Promise<void> {
    this.#verifying ??= this.#look()
      .catch((error: unknown) => {
        this.#options.log.debug({ err: error }, 'the stream of the control table is another, or cannot be looked at');
        throw error;
      })
      .finally(() => {
        this.#verifying = undefined;
      });
    return this.#verifying;
  }

  async #look(): Promise<void> {
    const cursor = this.#cursor;
    const facts = await this.#stream.facts();
    if (facts !== undefined && !this.#isAnother(facts, cursor)) return;
    if (facts !== undefined) this.#adopt(facts);
    this.#push.restart('the stream was replaced');
    throw new StreamReplaced(this.#stream.name);
  }

  /** Looks at the stream before it is read anew, and makes it if there is none. */
  async #prepare(): Promise<void> {
    this.#view.disturb();
    const cursor = this.#cursor;
    const mayMake = this.#created === undefined && this.#options.stored !== undefined;
    const facts = (mayMake ? undefined : await this.#stream.facts()) ?? (await this.#make());
    if (this.#isAnother(facts, cursor)) this.#adopt(facts);
    this.#snapshot = new Set();
  }

  /** Its servers may also have lost the end of it in a power cut. */
  #isAnother(facts: StreamFacts, cursor: number): boolean {
    return facts.created !== this.#created || facts.lastSequence < cursor;
  }

  #adopt({ created }: StreamFacts): void {
    if (this.#created !== undefined) {
      const { log } = this.#options;
      log.warn({ stream: this.#stream.name }, 'the control table was lost; entries are kept as they were last seen');
      this.#view.lose();
    }
    this.#created = created;
    this.#cursor = 0;
  }

  async #make(): Promise<StreamFacts> {
    const { clock, stored } = this.#options;
    if (stored === undefined) throw new NoControlTable(this.#prefix);
    return await this.#stream.ensure({
      subjects: `${this.#prefix}.control.>`,
      ...stored,
      maxBytes: MAX_BYTES,
      maxAgeMs: 0,
      duplicateWindowMs: DUPLICATE_WINDOW_MS,
      maxMessagesPerSubject: 1,
      messageTtl: true,
      firstSequence: Math.max(Math.floor(clock.wall()), this.#cursor + 1),
    });
  }

  #onMessage(message: NatsMessage, { sequence, pending }: PushedPlace): void {
    if (message.subject !== this.#markSubject) this.#see(message, sequence);
    this.#cursor = sequence;
    for (const waiter of this.#waiters) if (waiter.sequence <= sequence) waiter.resolve();
    if (pending === 0) this.#endSnapshot();
  }

  #see({ subject, data }: NatsMessage, sequence: number): void {
    let body: Body;
    try {
      body = bodyOf(data);
    } catch (error) {
      this.#options.log.error({ subject, err: error }, 'a message of the control table is no entry of it');
      return;
    }
    this.#snapshot?.add(body.key);
    this.#view.see(body.key, sequence, body.value);
  }

  /** All there was when the stream began to be read has come: what has not is not there any more. */
  #endSnapshot(): void {
    const keys = this.#snapshot;
    if (keys === undefined) return;
    const end = async (): Promise<void> => {
      // It may have been replaced before the consumer was made.
      await this.#verify();
      if (this.#snapshot !== keys) return;
      this.#snapshot = undefined;
      this.#view.retain(keys);
      this.#view.disturb();
      this.#opening.resolve();
    };
    end().catch(() => this.#push.restart('the stream cannot be looked at'));
  }
}

/** Throws SyntaxError, TypeError. */
function bodyOf(data: Buffer): Body {
  const body: unknown = JSON.parse(data.toString());
  if (typeof body !== 'object' || body === null || !('key' in body) || typeof body.key !== 'string') {
    throw new TypeError('no key');
  }
  return { key: body.key, value: 'value' in body ? body.value : undefined };
}

/** The server has not put it because of what is there. */
function isRejected(error: unknown): error is JetStreamError {
  return error instanceof JetStreamError && (error.errorCode === WRONG_LAST_SEQUENCE || error.errorCode === UNSETTLED);
}
