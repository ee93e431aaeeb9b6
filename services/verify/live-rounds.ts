import { requestJson } from '@dogwatch/upstream/request-json.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { compare } from './compare.ts';
import type { Compared, ComparisonsOptions } from './comparisons.ts';
import { type Exchange, exchange } from './exchange.ts';
import { generateLive, OWNER_LABEL } from './live-requests.ts';
import type { VerifyRequest } from './request.ts';
import { pathOf, type ServedResource } from './resources.ts';
import { VerifyError } from './verify-error.ts';

/** Numbers of live requests begin here, above all others. */
export const FIRST_LIVE = 5_000_000;
/** Watches that see the same changes: half are open before them, half replay them. */
export const ROUND_SIZE = 80;

export interface LiveRoundsOptions extends Omit<ComparisonsOptions, 'population' | 'users' | 'write'> {
  readonly client: Upstream;
  /** Of what objects are made. */
  readonly resources: readonly ServedResource[];
}

type Body = Readonly<Record<string, unknown>>;

/** Watches on both sides while objects are made, changed and deleted in a namespace that is made for it. */
export class LiveRounds {
  readonly #options: LiveRoundsOptions;
  readonly #namespace: string;
  readonly #templates = new Map<ServedResource, Body>();

  constructor(options: LiveRoundsOptions) {
    this.#options = options;
    // One that was used before may still be going.
    this.#namespace = `dogwatch-verify-${options.clock.wall().toString(36)}`;
  }

  /** Makes the namespace. Rejects with VerifyError where it may not. */
  async open(): Promise<void> {
    const labels = { [OWNER_LABEL]: this.#namespace };
    await this.#send('POST', '/api/v1/namespaces', { metadata: { name: this.#namespace, labels } });
    for (const resource of this.#options.resources) this.#templates.set(resource, await this.#template(resource));
  }

  /** Deletes the namespace with all that is in it. */
  async close(): Promise<void> {
    await this.#send('DELETE', `/api/v1/namespaces/${this.#namespace}`, undefined, [404, 409]);
  }

  /** One set of changes and those who watch it. Rejects with VerifyError where it may not write. */
  async run(round: number): Promise<Compared[]> {
    const { clusterVersion, resources, seed, sharded } = this.#options;
    const version = await clusterVersion.read();
    const requestOf = (i: number, late: boolean): VerifyRequest =>
      generateLive(seed, FIRST_LIVE + round * ROUND_SIZE + i, { namespace: this.#namespace, resources, version, late });
    const numbers = Array.from({ length: ROUND_SIZE / 2 }, (_, i) => i);
    const written = Promise.withResolvers<void>();
    let waiting = numbers.length;
    const meanwhile = (): Promise<void> => {
      waiting -= 1;
      if (waiting === 0) this.#change(round).then(written.resolve, written.reject);
      return written.promise;
    };
    const early = numbers.map((i) => exchange(requestOf(i, false), { ...this.#options, meanwhile }));
    await written.promise;
    const late = numbers.map((i) => exchange(requestOf(ROUND_SIZE / 2 + i, true), this.#options));
    const exchanges: Exchange[] = await Promise.all([...early, ...late]);
    const after = await clusterVersion.read();
    return exchanges.map((its) => ({
      exchange: its,
      comparison: compare(its, { version: after, sharded }),
      repeats: 0,
      retries: 0,
      restless: false,
    }));
  }

  /** Every kind of change: made, seen by another selector, changed, deleted, made again. */
  async #change(round: number): Promise<void> {
    for (const resource of this.#options.resources) {
      const collection = resource.namespaced
        ? pathOf({ ...resource, resource: `namespaces/${this.#namespace}/${resource.resource}` })
        : pathOf(resource);
      const make = (name: string, phase: string): Promise<void> =>
        this.#send('POST', collection, {
          ...this.#templates.get(resource),
          metadata: { name, labels: { phase, [OWNER_LABEL]: this.#namespace }, annotations: { round: String(round) } },
        });
      const patch = (name: string, metadata: Body): Promise<void> =>
        this.#send('PATCH', `${collection}/${name}`, { metadata });
      const [one, two] = resource.namespaced ? ['one', 'two'] : [`${this.#namespace}-one`, `${this.#namespace}-two`];
      await make(one, 'a');
      await make(two, 'b');
      await patch(one, { labels: { phase: 'b' } });
      await patch(two, { annotations: { changed: 'once' } });
      await patch(one, { labels: { phase: null } });
      await this.#send('DELETE', `${collection}/${one}`);
      await make(one, 'c');
      await this.#send('DELETE', `${collection}/${two}`);
      await this.#send('DELETE', `${collection}/${one}`);
    }
  }

  /** What an object needs besides its metadata: of most nothing, else what another one has. */
  async #template(resource: ServedResource): Promise<Body> {
    const { client, signal } = this.#options;
    const { group, version, kind } = resource;
    const type = { apiVersion: group === '' ? version : `${group}/${version}`, kind };
    const { body } = await requestJson(client, { path: `${pathOf(resource)}?limit=1`, signal });
    const { metadata: _, status: __, ...rest } = (body as { items?: Record<string, unknown>[] }).items?.[0] ?? {};
    // Whatever a Secret holds stays where it is.
    return kind === 'Secret' ? { ...type, stringData: { key: 'value' } } : { ...rest, ...type };
  }

  async #send(method: string, path: string, body?: Body, allowed: readonly number[] = []): Promise<void> {
    const { client, signal } = this.#options;
    const headers = method === 'PATCH' ? { 'content-type': 'application/merge-patch+json' } : {};
    const { status } = await requestJson(client, { method, path, headers, signal, ...(body && { body }) });
    if (status < 300 || allowed.includes(status)) return;
    throw new VerifyError('cannot_write', `${method} ${path} was answered with ${status}: --write needs that right`);
  }
}
