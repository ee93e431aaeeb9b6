import { type NatsPort, NatsTimeout } from './nats-port.ts';

/** Short, because what a dead leader took is never answered; everything asked here may be asked again. */
const API_TIMEOUT_MS = 1_500;
/** Making a stream takes an election. */
const MAKE_TIMEOUT_MS = 2_500;
const MAKE_ATTEMPTS = 4;
const NO_MESSAGE = 10_037;
const NO_STREAM = 10_059;
const STREAM_EXISTS = 10_058;
const NOT_FOUND = 404;
const NANOSECONDS = 1_000_000;

/** JetStream refused; `errorCode` is the server's own, stable number. */
export class JetStreamError extends Error {
  readonly code = 'JetStreamError';
  readonly status: number;
  readonly errorCode: number;
  constructor({ code = 0, err_code: errorCode = 0, description = '' }: ApiError) {
    super(`JetStream: ${description} (${errorCode})`);
    this.status = code;
    this.errorCode = errorCode;
  }
}

interface ApiError {
  readonly code?: number;
  readonly err_code?: number;
  readonly description?: string;
}

export interface StreamSettings {
  /** All subjects it takes. */
  readonly subjects: string;
  readonly replicas: number;
  readonly storage: 'file' | 'memory';
  /** The server reserves as much. */
  readonly maxBytes: number;
  /** At `maxBytes` the oldest messages go, which is the default, or new ones are refused. */
  readonly discard?: 'old' | 'new';
  /** 0: for ever. */
  readonly maxAgeMs: number;
  /** A message with the Nats-Msg-Id of another within this time is not stored again. */
  readonly duplicateWindowMs: number;
  /** The oldest messages of a subject go first. Default: no bound of its own. */
  readonly maxMessagesPerSubject?: number;
  /** Whether messages may bring a Nats-TTL of their own. */
  readonly messageTtl?: boolean;
  /** Of the first message, if the stream is made now. */
  readonly firstSequence?: number;
}

export interface StreamFacts {
  /** Differs between two streams of one name. */
  readonly created: string;
  readonly firstSequence: number;
  readonly lastSequence: number;
}

export interface StoredMessage {
  readonly sequence: number;
  readonly data: Buffer;
  /** "" if there is none. */
  header(name: string): string;
}

/** One JetStream stream by its JSON API: what the client package's own classes do, without what makes them hang. */
export class NatsStream {
  readonly name: string;
  readonly #port: NatsPort;

  constructor(port: NatsPort, name: string) {
    this.#port = port;
    this.name = name;
  }

  /** Creates the stream, or gives the one there is these settings. */
  async ensure(settings: StreamSettings): Promise<StreamFacts> {
    const { discard = 'old', maxMessagesPerSubject = -1, messageTtl = false, firstSequence } = settings;
    const config = {
      name: this.name,
      subjects: [settings.subjects],
      retention: 'limits',
      discard,
      max_msgs_per_subject: maxMessagesPerSubject,
      allow_msg_ttl: messageTtl,
      first_seq: firstSequence,
      storage: settings.storage,
      num_replicas: settings.replicas,
      max_bytes: settings.maxBytes,
      max_age: settings.maxAgeMs * NANOSECONDS,
      duplicate_window: settings.duplicateWindowMs * NANOSECONDS,
      allow_direct: true,
    };
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#make(config);
      } catch (error) {
        // Of two equal requests at once the server answers one only, so that who is not answered asks again.
        if (!(error instanceof NatsTimeout) || attempt === MAKE_ATTEMPTS) throw error;
      }
    }
  }

  async #make(config: { readonly first_seq: number | undefined }): Promise<StreamFacts> {
    try {
      return factsOf(await this.#call(`STREAM.CREATE.${this.name}`, config, MAKE_TIMEOUT_MS));
    } catch (error) {
      if (!(error instanceof JetStreamError) || error.errorCode !== STREAM_EXISTS) throw error;
      const held = await this.#call<StreamInfo>(`STREAM.INFO.${this.name}`, {});
      const update = { ...config, first_seq: held.config.first_seq };
      if (isAsAsked(held.config, update)) return factsOf(held);
      return factsOf(await this.#call(`STREAM.UPDATE.${this.name}`, update, MAKE_TIMEOUT_MS));
    }
  }

  /** Undefined if there is no such stream. */
  async facts(): Promise<StreamFacts | undefined> {
    try {
      return factsOf(await this.#call(`STREAM.INFO.${this.name}`, {}));
    } catch (error) {
      if (error instanceof JetStreamError && error.errorCode === NO_STREAM) return undefined;
      throw error;
    }
  }

  /** The last message of a subject, as the stream's leader knows it. */
  last(subject: string): Promise<StoredMessage | undefined> {
    return this.#get({ last_by_subj: subject });
  }

  /** The first message of a subject at `sequence` or behind it. */
  next(subject: string, sequence: number): Promise<StoredMessage | undefined> {
    return this.#get({ next_by_subj: subject, seq: sequence });
  }

  /**
   * As `next`, by any server that keeps a copy: it answers while there is no leader, and may not know the newest yet.
   * `data` is a view into the socket's chunk.
   */
  async nextOfAnyCopy(subject: string, sequence: number): Promise<StoredMessage | undefined> {
    const request = Buffer.from(JSON.stringify({ next_by_subj: subject, seq: sequence }));
    const answer = await this.#port.request(`$JS.API.DIRECT.GET.${this.name}`, request, { timeoutMs: API_TIMEOUT_MS });
    const { status: code, description } = answer;
    if (code === NOT_FOUND) return undefined;
    if (code !== 0) throw new JetStreamError({ code, description });
    return {
      sequence: Number(answer.header('Nats-Sequence')),
      data: answer.data,
      header: (name) => answer.header(name),
    };
  }

  /** Subjects that have messages, of those a pattern fits; at most the server's 100,000. */
  async subjects(pattern: string): Promise<string[]> {
    const { state } = await this.#call<StreamInfo>(`STREAM.INFO.${this.name}`, { subjects_filter: pattern });
    return Object.keys(state.subjects ?? {});
  }

  /** Removes the messages of a subject but the newest `keep`. */
  async purge(subject: string, keep = 0): Promise<void> {
    const request = keep === 0 ? { filter: subject } : { filter: subject, keep };
    await this.#call(`STREAM.PURGE.${this.name}`, request, MAKE_TIMEOUT_MS);
  }

  /** Resolves with the message's sequence once it is stored. Throws JetStreamError and what a request throws. */
  async append(
    subject: string,
    data: Uint8Array,
    headers: Readonly<Record<string, string>>,
    timeoutMs = API_TIMEOUT_MS,
  ): Promise<number> {
    const answer = await this.#port.request(subject, data, { timeoutMs, headers });
    const { seq, error } = parse<{ readonly seq?: number }>(answer.data);
    if (error !== undefined || seq === undefined) throw new JetStreamError(error ?? {});
    return seq;
  }

  /**
   * A consumer that pushes the messages of `subject` to `inbox`, until nobody listens there. Resolves with the number
   * of messages it began with; some of them may have come before.
   */
  async push(name: string, { subject, sequence, inbox, heartbeatMs, inactiveMs }: PushOptions): Promise<number> {
    const config = {
      name,
      deliver_subject: inbox,
      ...(sequence === undefined
        ? { deliver_policy: 'last_per_subject' }
        : { deliver_policy: 'by_start_sequence', opt_start_seq: sequence }),
      filter_subject: subject,
      ack_policy: 'none',
      replay_policy: 'instant',
      mem_storage: true,
      num_replicas: 1,
      flow_control: true,
      idle_heartbeat: heartbeatMs * NANOSECONDS,
      inactive_threshold: inactiveMs * NANOSECONDS,
    };
    const { num_pending: pending } = await this.#call<{ readonly num_pending: number }>(
      `CONSUMER.CREATE.${this.name}.${name}.${subject}`,
      { stream_name: this.name, config, action: 'create' },
    );
    return pending;
  }

  /** Ends a consumer without waiting: one that nobody listens to ends by itself. */
  stopPush(name: string): void {
    if (this.#port.connected) this.#port.publish(`$JS.API.CONSUMER.DELETE.${this.name}.${name}`, Buffer.alloc(0));
  }

  async #get(request: object): Promise<StoredMessage | undefined> {
    try {
      const { message } = await this.#call<{
        readonly message: { readonly seq: number; readonly hdrs?: string; readonly data?: string };
      }>(`STREAM.MSG.GET.${this.name}`, request);
      const headers = Buffer.from(message.hdrs ?? '', 'base64').toString();
      return {
        sequence: message.seq,
        data: Buffer.from(message.data ?? '', 'base64'),
        header: (name) => new RegExp(`^${name}: *(.*)$`, 'im').exec(headers)?.[1]?.trim() ?? '',
      };
    } catch (error) {
      if (error instanceof JetStreamError && error.errorCode === NO_MESSAGE) return undefined;
      throw error;
    }
  }

  async #call<T>(method: string, request: object, timeoutMs = API_TIMEOUT_MS): Promise<T> {
    const body = Buffer.from(JSON.stringify(request));
    const { data } = await this.#port.request(`$JS.API.${method}`, body, { timeoutMs });
    const answer = parse<T>(data);
    if (answer.error !== undefined) throw new JetStreamError(answer.error);
    return answer;
  }
}

export interface PushOptions {
  readonly subject: string;
  /** Where to begin; without it with the last message of every subject that fits. */
  readonly sequence?: number;
  /** Must be subscribed as it is, not by a wildcard, or the server thinks nobody listens. */
  readonly inbox: string;
  readonly heartbeatMs: number;
  readonly inactiveMs: number;
}

function parse<T>(data: Buffer): T & { readonly error?: ApiError } {
  return JSON.parse(data.toString()) as T & { readonly error?: ApiError };
}

interface StreamInfo {
  readonly created: string;
  readonly config: { readonly first_seq?: number };
  readonly state: {
    readonly first_seq: number;
    readonly last_seq: number;
    readonly subjects?: Readonly<Record<string, number>>;
  };
}

function factsOf(info: StreamInfo): StreamFacts {
  return { created: info.created, firstSequence: info.state.first_seq, lastSequence: info.state.last_seq };
}

/** An update that changes nothing is not asked for: the server leaves one of two that come at once unanswered. */
function isAsAsked(held: object, wanted: object): boolean {
  const has = new Map<string, unknown>(Object.entries(held));
  return Object.entries(wanted).every(
    ([key, value]) =>
      value === undefined ||
      JSON.stringify(has.get(key) ?? (value === false ? false : undefined)) === JSON.stringify(value),
  );
}
