import { StatusError, serviceUnavailable } from '@dogwatch/kube/status.ts';
import { type GroupVersionResource, apiVersionOf, groupVersionPath } from '@dogwatch/kube/group-resource.ts';
import { requestJson } from './request-json.ts';
import type { Upstream } from './upstream.ts';

/** What upstream's discovery says of a resource. */
export interface ResourceInfo {
  readonly kind: string;
  readonly namespaced: boolean;
  /** Has list and watch among its verbs. */
  readonly watchable: boolean;
  /** Served by upstream itself, not by an aggregated API server, whose versions are opaque. */
  readonly local: boolean;
  /** Defined by a CustomResourceDefinition. */
  readonly custom: boolean;
}

const TIMEOUT_MS = 10_000;
/** A request for an unknown resource makes discovery be read again, but no more often than this; nor after a failure. */
const REFRESH_INTERVAL_MS = 1_000;
/** What is known is read again after this long, so that a resource that went is noticed. */
const STALE_MS = 60_000;

interface ApiService {
  metadata: { labels?: Record<string, string> };
  spec: { group?: string; version?: string; service?: unknown };
}

interface DiscoveredResource {
  name: string;
  kind: string;
  namespaced: boolean;
  verbs: readonly string[];
}

/** Which resources upstream serves. New ones are found when they are first asked for. */
export class Discovery {
  readonly #upstream: Upstream;
  readonly #now: () => number;
  #resources: ReadonlyMap<string, ResourceInfo> = new Map();
  #readAt = Number.NEGATIVE_INFINITY;
  #triedAt = Number.NEGATIVE_INFINITY;
  #failure: StatusError | undefined;
  #reading: Promise<void> | undefined;

  constructor(upstream: Upstream, now: () => number) {
    this.#upstream = upstream;
    this.#now = now;
  }

  /** Undefined if upstream has no such resource. Rejects with a 503 StatusError while upstream cannot be asked. */
  async lookup(resource: GroupVersionResource): Promise<ResourceInfo | undefined> {
    const key = keyOf(resource);
    const now = this.#now();
    const justTried = now - this.#triedAt < REFRESH_INTERVAL_MS;
    const known = this.#resources.get(key);
    if (known !== undefined) {
      // What is known keeps being served while upstream is away; the lane itself notices if the resource went.
      if (now - this.#readAt > STALE_MS && !justTried) this.refresh().catch(() => undefined);
      return known;
    }
    if (this.#reading === undefined && justTried) {
      if (this.#failure !== undefined) throw this.#failure;
      return undefined;
    }
    await this.refresh();
    return this.#resources.get(key);
  }

  /** What is known was seen to be wrong: it is read again when it is next asked for. */
  doubt(): void {
    this.#readAt = Number.NEGATIVE_INFINITY;
  }

  /** Reads discovery anew; one reading for all who ask meanwhile. Rejects with a 503 StatusError. */
  refresh(): Promise<void> {
    this.#reading ??= this.#try().finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async #try(): Promise<void> {
    this.#triedAt = this.#now();
    try {
      await this.#read();
      this.#failure = undefined;
    } catch (error) {
      const unavailable = serviceUnavailable('kube-apiserver does not say which resources it serves', 1);
      this.#failure = error instanceof StatusError ? error : new StatusError(unavailable, { cause: error });
      throw this.#failure;
    }
  }

  async #read(): Promise<void> {
    const services = new Map<string, ApiService>();
    for (const service of await this.#apiServices()) {
      services.set(apiVersionOf({ group: service.spec.group ?? '', version: service.spec.version ?? '' }), service);
    }
    const resources = new Map<string, ResourceInfo>();
    for (const groupVersion of await this.#groupVersions()) {
      const service = services.get(apiVersionOf(groupVersion));
      // It came between the two answers: whose it is, is known when it is asked for next.
      if (service === undefined && services.size > 0 && groupVersion.group !== '') continue;
      const origin = {
        local: service?.spec.service === undefined || service.spec.service === null,
        custom: service?.metadata.labels?.['kube-aggregator.kubernetes.io/automanaged'] === 'true',
      };
      if (groupVersion.resources === undefined) {
        this.#keep(groupVersion, resources);
        continue;
      }
      for (const { name, kind, namespaced, verbs } of groupVersion.resources) {
        const watchable = verbs.includes('list') && verbs.includes('watch');
        resources.set(keyOf({ ...groupVersion, resource: name }), { kind, namespaced, watchable, ...origin });
      }
    }
    this.#resources = resources;
    this.#readAt = this.#now();
  }

  /** What is known of a group that cannot be asked now. */
  #keep(groupVersion: { group: string; version: string }, resources: Map<string, ResourceInfo>): void {
    const prefix = keyOf({ ...groupVersion, resource: '' });
    for (const [key, info] of this.#resources) if (key.startsWith(prefix)) resources.set(key, info);
  }

  async #apiServices(): Promise<readonly ApiService[]> {
    const body = await this.#get('/apis/apiregistration.k8s.io/v1/apiservices');
    return (body as { items?: ApiService[] } | undefined)?.items ?? [];
  }

  /** Without `resources` where a group cannot be asked now. */
  async #groupVersions(): Promise<
    { group: string; version: string; resources: readonly DiscoveredResource[] | undefined }[]
  > {
    const found: { group: string; version: string }[] = [];
    const core = (await this.#get('/api')) as { versions?: string[] } | undefined;
    for (const version of core?.versions ?? []) found.push({ group: '', version });
    const groups = (await this.#get('/apis')) as
      | { groups?: { name: string; versions: { version: string }[] }[] }
      | undefined;
    for (const { name, versions } of groups?.groups ?? []) {
      for (const { version } of versions) found.push({ group: name, version });
    }
    return await Promise.all(
      found.map(async (groupVersion) => {
        const list = (await this.#get(groupVersionPath(groupVersion), true)) as
          | { resources?: DiscoveredResource[] }
          | 'away'
          | undefined;
        return { ...groupVersion, resources: list === 'away' ? undefined : (list?.resources ?? []) };
      }),
    );
  }

  /**
   * Undefined where upstream has nothing. With `mayBeAway`, 'away' where it is not to be had now: an aggregated API that
   * is down must not hide the others.
   */
  async #get(path: string, mayBeAway = false): Promise<unknown> {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const { status, body } = await requestJson(this.#upstream, { path, signal, timeoutMs: TIMEOUT_MS });
    if (status === 200) return body;
    if (status === 404) return undefined;
    if (status === 503 && mayBeAway) return 'away';
    const advice = status === 403 ? ': give its user the rights the README lists' : '';
    throw new StatusError(serviceUnavailable(`upstream answered ${status} to discovery (GET ${path})${advice}`, 1));
  }
}

function keyOf({ group, version, resource }: GroupVersionResource): string {
  return `${group}/${version}/${resource}`;
}
