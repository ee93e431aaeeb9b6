import { requestJson } from '@dogwatch/upstream/request-json.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { VerifyError } from './verify-error.ts';

/** A consistent LIST carries the version of the whole cluster, whatever it lists. */
const PATH = '/api/v1/namespaces?limit=1';

/** Reads the version of the cluster: what changes it, changes something somewhere. One read for all who ask at once. */
export class ClusterVersion {
  readonly #upstream: Upstream;
  readonly #signal: AbortSignal;
  /** One read is under way, and the next, which those wait for who came since. */
  #running: Promise<number> | undefined;
  #next: Promise<number> | undefined;

  constructor(upstream: Upstream, signal: AbortSignal) {
    this.#upstream = upstream;
    this.#signal = signal;
  }

  /** The version at some moment after this call. Rejects with VerifyError. */
  read(): Promise<number> {
    if (this.#running === undefined) return this.#start();
    this.#next ??= this.#running.then(
      () => this.#start(),
      () => this.#start(),
    );
    return this.#next;
  }

  #start(): Promise<number> {
    this.#next = undefined;
    this.#running = this.#read().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #read(): Promise<number> {
    const { status, body } = await requestJson(this.#upstream, { path: PATH, signal: this.#signal });
    const text = (body as { metadata?: { resourceVersion?: string } } | undefined)?.metadata?.resourceVersion;
    if (status === 200 && text !== undefined && /^\d+$/.test(text)) return Number(text);
    throw new VerifyError('cannot_read', `GET ${PATH} was answered with ${status}: its user needs to list namespaces`);
  }
}
