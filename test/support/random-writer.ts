import { KubeError, type KubeClient, type KubeObject } from './kube-client.ts';
import { type Interest, matches } from './watch-model.ts';

export interface RandomWriterOptions {
  readonly client: KubeClient;
  readonly seed: number;
  readonly namespaces: readonly string[];
  readonly colours: readonly string[];
  /** Objects per namespace; default 20. */
  readonly names?: number;
  readonly kind?: 'configmaps' | 'leases';
}

/** A write that went through: what a watch has to have seen once it is up to date. */
export interface Written {
  readonly key: string;
  readonly rv: number;
  readonly labels: Readonly<Record<string, string>>;
}

const COLLECTIONS = {
  configmaps: { prefix: '/api/v1', extra: { data: { payload: 'x'.repeat(200) } } },
  leases: { prefix: '/apis/coordination.k8s.io/v1', extra: { spec: { holderIdentity: 'writer' } } },
} as const;

/** Creates, recolours, changes and deletes objects in an order that its seed decides, one write at a time. */
export class RandomWriter {
  readonly #options: RandomWriterOptions;
  readonly #kind: keyof typeof COLLECTIONS;
  readonly #colours = new Map<string, string>();
  #state: number;

  constructor(options: RandomWriterOptions) {
    this.#options = options;
    this.#kind = options.kind ?? 'configmaps';
    this.#state = options.seed;
  }

  /** Path of the whole collection, over all namespaces. */
  get path(): string {
    return `${COLLECTIONS[this.#kind].prefix}/${this.#kind}`;
  }

  pathIn(namespace: string): string {
    return `${COLLECTIONS[this.#kind].prefix}/namespaces/${namespace}/${this.#kind}`;
  }

  /** The namespaces themselves. */
  async createNamespaces(): Promise<void> {
    for (const name of this.#options.namespaces) {
      const { status } = await this.#options.client.request('POST', '/api/v1/namespaces', {
        body: { metadata: { name } },
      });
      if (status !== 201 && status !== 409) throw new Error(`namespace ${name}: ${status}`);
    }
  }

  /** `count` writes. */
  async write(count: number): Promise<void> {
    for (let i = 0; i < count; i += 1) await this.#step();
  }

  /** Writes until the signal; what upstream refuses or does not answer while it is down is dropped. Returns the number written. */
  async writeUntil(signal: AbortSignal): Promise<number> {
    let written = 0;
    while (!signal.aborted) {
      try {
        await this.#step();
        written += 1;
      } catch (error) {
        if (error instanceof KubeError && error.status < 500 && error.status !== 404 && error.status !== 409)
          throw error;
        this.#colours.clear(); // unknown what of it went through
      }
    }
    return written;
  }

  /**
   * The last word to every interest in these namespaces, colours and names: a touch of one object of each. A watch is
   * up to date when it is at `lastFor(...)`.
   */
  async touchAll(names: readonly string[] = []): Promise<Written[]> {
    const written: Written[] = [];
    for (const namespace of this.#options.namespaces) {
      for (const colour of this.#options.colours) written.push(await this.#put(namespace, `touch-${colour}`, colour));
      for (const name of names) written.push(await this.#put(namespace, name, this.#options.colours[0] ?? ''));
    }
    return written;
  }

  async #step(): Promise<void> {
    const { namespaces, colours, names = 20 } = this.#options;
    const namespace = this.#pick(namespaces);
    const name = `object-${this.#random(names)}`;
    if (this.#random(5) === 0) await this.#delete(namespace, name);
    else await this.#put(namespace, name, this.#random(3) === 0 ? this.#pick(colours) : undefined);
  }

  async #delete(namespace: string, name: string): Promise<void> {
    const path = `${this.pathIn(namespace)}/${name}`;
    const response = await this.#options.client.request('DELETE', path);
    if (response.status !== 200 && response.status !== 404) throw new KubeError(`DELETE ${path}`, response);
    this.#colours.delete(path);
  }

  /** Keeps the colour if none is given. */
  async #put(namespace: string, name: string, wanted: string | undefined): Promise<Written> {
    const { client, colours } = this.#options;
    const path = `${this.pathIn(namespace)}/${name}`;
    const colour = wanted ?? this.#colours.get(path) ?? this.#pick(colours);
    const labels = { colour };
    const body = { metadata: { labels, annotations: { turn: String(this.#random(1 << 30)) } } };
    const patch = await client.request('PATCH', path, {
      body,
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    if (patch.status !== 200 && patch.status !== 404) throw new KubeError(`PATCH ${path}`, patch);
    const object =
      patch.status === 200
        ? (JSON.parse(patch.body) as KubeObject)
        : await client.create(this.pathIn(namespace), { metadata: { name, labels }, ...COLLECTIONS[this.#kind].extra });
    this.#colours.set(path, colour);
    return { key: `${namespace}/${name}`, rv: Number(object.metadata.resourceVersion), labels };
  }

  #pick(from: readonly string[]): string {
    return from[this.#random(from.length)] ?? '';
  }

  /** Below `limit`; xorshift32. */
  #random(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }
}

/** The RV of the last write that an interest is about; 0 if none. */
export function lastFor(interest: Interest, written: readonly Written[]): number {
  return Math.max(0, ...written.filter((write) => matches(interest, write)).map(({ rv }) => rv));
}
