import type { Read, ReadClient } from './read-client.ts';

const CONFIG_MAPS = '/api/v1/namespaces/default/configmaps';

/** What has been done to an object: a read that began afterwards shows it. */
export interface Written {
  readonly name: string;
  /** Version of the write; undefined for a delete, whose answer has none. */
  readonly rv: number | undefined;
  /** What it says now; undefined: it is gone. */
  readonly text: string | undefined;
}

/** Why a read that began after the write is stale; undefined if it is not. Nobody else writes the object. */
export function staleness({ name, rv, text }: Written, read: Read): string | undefined {
  const found = read.objects.get(name);
  if (text === undefined)
    return found && `${name} is gone, and was read at version ${found.rv} in a list of ${read.rv}`;
  if (rv !== undefined && read.rv < rv) return `${name} was written at ${rv}, and the read is of ${read.rv}`;
  if (found?.rv === rv && found?.data['text'] === text) return undefined;
  return `${name} was written at ${rv}: "${text}", and read at ${found?.rv}: "${found?.data['text']}"`;
}

/** The ways to read an object that ask for what there is now. */
const READS: readonly ((client: ReadClient, name: string) => Promise<Read>)[] = [
  (client) => client.list(CONFIG_MAPS),
  (client, name) => client.list(`${CONFIG_MAPS}?fieldSelector=metadata.name%3D${name}`),
  (client) => client.watchList(CONFIG_MAPS),
  (client, name) => client.list(`${CONFIG_MAPS}?labelSelector=writer%3D${name}`),
  (client) => client.list(`/api/v1/configmaps?limit=500`),
  (client, name) => client.watchList(`/api/v1/configmaps?labelSelector=writer%3D${name}`),
];

/** Creates, changes and deletes one object of its own, one write after the other. */
class Writer {
  readonly #client: ReadClient;
  readonly #name: string;
  #exists = false;

  constructor(client: ReadClient, name: string) {
    this.#client = client;
    this.#name = name;
  }

  async write(turn: number): Promise<Written> {
    const [name, text] = [this.#name, `turn ${turn}`];
    if (this.#exists && turn % 5 === 4) {
      await this.#client.write('DELETE', `${CONFIG_MAPS}/${name}`);
      this.#exists = false;
      return { name, rv: undefined, text: undefined };
    }
    const { metadata } = this.#exists
      ? await this.#client.write('PATCH', `${CONFIG_MAPS}/${name}`, { data: { text } })
      : await this.#client.write('POST', CONFIG_MAPS, { metadata: { name, labels: { writer: name } }, data: { text } });
    this.#exists = true;
    return { name, rv: Number(metadata.resourceVersion), text };
  }
}

export interface Pairs {
  /** Begins the names of their objects. */
  readonly name: string;
  readonly pairs: number;
  readonly atOnce: number;
  /** Between one pair and the next of a writer. */
  readonly between?: () => Promise<void>;
}

/**
 * Pairs of a write and a read that begins once the write is answered, `atOnce` writers at a time. Resolves with why those
 * reads were stale that were, and how long reads took.
 */
export async function writeThenRead(
  { writes, reads }: { readonly writes: ReadClient; readonly reads: ReadClient },
  { name, pairs, atOnce, between }: Pairs,
): Promise<{ readonly stale: readonly string[]; readonly ms: readonly number[] }> {
  const stale: string[] = [];
  const ms: number[] = [];
  const run = async (worker: number): Promise<void> => {
    const writer = new Writer(writes, `${name}-${worker}`);
    for (let turn = 0; turn < pairs / atOnce; turn++) {
      const written = await writer.write(turn);
      const read = await READS[(worker + turn) % READS.length]!(reads, written.name);
      const why = staleness(written, read);
      if (why !== undefined) stale.push(why);
      ms.push(read.ms);
      await between?.();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, (_, worker) => run(worker)));
  return { stale, ms };
}
