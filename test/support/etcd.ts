import { type IncomingMessage, request } from 'node:http';
import { createInterface } from 'node:readline';
import type { ObjectEvent } from './watch-recorder.ts';

/** etcd's JSON gateway: 64-bit numbers as strings, bytes as base64. */
interface KeyValue {
  readonly key: string;
  readonly create_revision?: string;
  readonly mod_revision: string;
  readonly value?: string;
}

interface StoredJson {
  readonly metadata: { readonly uid: string; readonly labels?: Record<string, string> };
}

interface EtcdEvent {
  readonly type?: 'DELETE';
  readonly kv: KeyValue;
  readonly prev_kv?: KeyValue;
}

interface WatchResponse {
  readonly result: {
    readonly header: { readonly revision: string };
    readonly events?: readonly EtcdEvent[];
    readonly canceled?: boolean;
    readonly cancel_reason?: string;
  };
}

const TIMEOUT_MS = 30_000;

/** etcd itself, reached past kube-apiserver: the true history, which survives every restart of kube-apiserver. */
export class Etcd {
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
  }

  /** For etcd's own clients. */
  get server(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /**
   * All events of a built-in resource (`configmaps`, `leases`) from revision `from` to the one at `upTo`, which must be
   * an event of it. Fails if etcd has compacted `from` away (kube-apiserver compacts after five minutes).
   */
  async history(resource: string, from: number, upTo: number): Promise<ObjectEvent[]> {
    const key = prefix(resource);
    const create = { ...range(key), start_revision: String(from), prev_kv: true };
    const response = await this.#post('/v3/watch', { create_request: create });
    const timer = setTimeout(
      () => response.destroy(new Error(`etcd showed no event at ${upTo} of ${resource}`)),
      TIMEOUT_MS,
    );
    const events: ObjectEvent[] = [];
    try {
      for await (const line of createInterface({ input: response })) {
        const { result } = JSON.parse(line) as WatchResponse;
        if (result.canceled === true) throw new Error(`etcd ended the watch: ${result.cancel_reason}`);
        for (const event of result.events ?? []) events.push(objectEvent(event, key));
        if ((events.at(-1)?.rv ?? 0) >= upTo) return events;
      }
      throw new Error('etcd ended the watch');
    } finally {
      clearTimeout(timer);
      response.destroy();
    }
  }

  /**
   * Records what is written from now on, under the keys of resources that are named as in `history` (of services
   * `services/specs`, of custom resources `GROUP/PLURAL`).
   */
  async record(resources: readonly string[]): Promise<EtcdRecording> {
    return EtcdRecording.begin(
      await this.#post('/v3/watch', { create_request: { ...range(ROOT), prev_kv: true } }),
      resources,
    );
  }

  /** The keys of a resource, `NAMESPACE/NAME`. */
  async keys(resource: string): Promise<string[]> {
    const key = prefix(resource);
    const { kvs = [] } = await this.#call<{ kvs?: KeyValue[] }>('/v3/kv/range', { ...range(key), keys_only: true });
    return kvs.map((kv) => bytes(kv.key).toString().slice(key.length));
  }

  /** Deletes an object as another kube-apiserver would. */
  async delete(resource: string, object: string): Promise<void> {
    await this.#call('/v3/kv/deleterange', { key: base64(prefix(resource) + object) });
  }

  /** Writes an object's bytes again: a change of nothing but its RV. */
  async touch(resource: string, object: string): Promise<void> {
    const key = base64(prefix(resource) + object);
    const { kvs = [] } = await this.#call<{ kvs?: KeyValue[] }>('/v3/kv/range', { key });
    await this.#call('/v3/kv/put', { key, value: kvs[0]?.value ?? '' });
  }

  /** Forgets what was before `revision`, as kube-apiserver does every five minutes. */
  async compact(revision: number): Promise<void> {
    await this.#call('/v3/kv/compaction', { revision: String(revision), physical: true });
  }

  async #call<T>(path: string, body: object): Promise<T> {
    const response = await this.#post(path, body);
    const text = Buffer.concat((await response.toArray()) as Buffer[]).toString();
    if (response.statusCode !== 200) throw new Error(`etcd ${path}: ${response.statusCode} ${text}`);
    return JSON.parse(text) as T;
  }

  #post(path: string, body: object): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const outgoing = request({ host: '127.0.0.1', port: this.#port, path, method: 'POST', agent: false }, resolve);
      outgoing.on('error', reject);
      outgoing.end(JSON.stringify(body));
    });
  }
}

/**
 * The history of some resources while it was recorded. What is compacted meanwhile is not lost, as long as that is not
 * above `revision`: it was received.
 */
export class EtcdRecording {
  readonly #response: IncomingMessage;
  readonly #prefixes: readonly string[];
  readonly #events: { readonly event: EtcdEvent; readonly rv: number; readonly at: number }[] = [];
  #failure: Error | undefined;
  #revision = 0;

  private constructor(response: IncomingMessage, resources: readonly string[]) {
    this.#response = response;
    this.#prefixes = resources.map(prefix);
  }

  /** Resolves once etcd has said that it tells of everything. */
  static async begin(response: IncomingMessage, resources: readonly string[]): Promise<EtcdRecording> {
    const recording = new EtcdRecording(response, resources);
    const lines = createInterface({ input: response });
    await new Promise<void>((resolve, reject) => {
      lines.on('line', (line) => {
        recording.#take((JSON.parse(line) as WatchResponse).result);
        resolve();
      });
      lines.on('close', () => reject(new Error('etcd ended the watch')));
      response.on('error', (error) => (recording.#failure ??= error));
    });
    return recording;
  }

  /** The highest one received. */
  get revision(): number {
    return this.#revision;
  }

  /** The highest revision received by a moment in milliseconds since 1970. */
  revisionAt(moment: number): number {
    return this.#events.findLast(({ at }) => at <= moment)?.rv ?? 0;
  }

  /** The events of a resource. Throws if the recording has a hole. */
  history(resource: string): ObjectEvent[] {
    if (this.#failure !== undefined) throw this.#failure;
    const key = prefix(resource);
    const wanted = this.#events.filter(({ event }) => bytes(event.kv.key).toString().startsWith(key));
    return wanted.map(({ event }) => objectEvent(event, key));
  }

  stop(): void {
    this.#response.destroy();
  }

  #take({ events = [], canceled = false, cancel_reason: reason = '', header }: WatchResponse['result']): void {
    if (canceled) this.#failure ??= new Error(`etcd ended the watch: ${reason}`);
    const at = Date.now();
    this.#revision = Math.max(this.#revision, Number(header.revision));
    for (const event of events) {
      const key = bytes(event.kv.key).toString();
      if (!this.#prefixes.some((wanted) => key.startsWith(wanted))) continue;
      this.#events.push({ event, rv: Number(event.kv.mod_revision), at });
    }
  }
}

const ROOT = '/registry/';

function prefix(resource: string): string {
  return `${ROOT}${resource}/`;
}

/** All keys that begin with `key`; "0" follows "/" in ASCII. */
function range(key: string): { key: string; range_end: string } {
  return { key: base64(key), range_end: base64(`${key.slice(0, -1)}0`) };
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

function bytes(text: string): Buffer {
  return Buffer.from(text, 'base64');
}

function objectEvent(event: EtcdEvent, keyPrefix: string): ObjectEvent {
  const value = event.type === 'DELETE' ? event.prev_kv?.value : event.kv.value;
  const { uid, labels } = storedMetadata(bytes(value ?? ''));
  const type =
    event.type === 'DELETE' ? 'DELETED' : event.kv.create_revision === event.kv.mod_revision ? 'ADDED' : 'MODIFIED';
  return {
    type,
    key: bytes(event.kv.key).toString().slice(keyPrefix.length),
    uid,
    rv: Number(event.kv.mod_revision),
    labels,
  };
}

/**
 * uid (field 5) and labels (field 11) of the ObjectMeta (field 1) in a stored protobuf object ("k8s\0" and
 * runtime.Unknown); custom resources are stored as JSON.
 */
function storedMetadata(stored: Buffer): { uid: string; labels: Record<string, string> } {
  if (stored[0] === 0x7b) {
    const { metadata } = JSON.parse(stored.toString()) as StoredJson;
    return { uid: metadata.uid, labels: metadata.labels ?? {} };
  }
  if (!stored.subarray(0, 4).equals(Buffer.from('k8s\0'))) throw new Error('not a stored protobuf object');
  const [raw] = fieldsOf(stored.subarray(4), 2);
  const [metadata] = fieldsOf(raw ?? Buffer.alloc(0), 1);
  if (metadata === undefined) throw new Error('a stored object without metadata');
  const text = (message: Buffer, field: number): string => fieldsOf(message, field)[0]?.toString() ?? '';
  return {
    uid: text(metadata, 5),
    labels: Object.fromEntries(fieldsOf(metadata, 11).map((entry) => [text(entry, 1), text(entry, 2)])),
  };
}

/** The length-delimited values of one field of a protobuf message. */
function fieldsOf(message: Buffer, wanted: number): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < message.length;) {
    const [tag, afterTag] = varint(message, at);
    const [value, afterValue] = varint(message, afterTag);
    at = (tag & 7) === 2 ? afterValue + value : afterValue;
    if ((tag & 7) === 2 && tag >>> 3 === wanted) found.push(message.subarray(afterValue, at));
    if ((tag & 7) !== 2 && (tag & 7) !== 0) throw new Error(`wire type ${tag & 7} in a stored object`);
  }
  return found;
}

function varint(message: Buffer, at: number): [value: number, next: number] {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = message[at] ?? 0;
    at += 1;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return [value, at];
  }
}
