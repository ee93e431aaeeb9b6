import type { KubeClient } from '@dogwatch/test/support/kube-client.ts';
import { monotonicMicros, WRITTEN_ANNOTATION } from './written-stamp.ts';

/** What was written: every watch of the namespace must have had exactly this. */
export interface Written {
  readonly count: number;
  /** Sum of the resource versions. */
  readonly versionSum: number;
}

const OBJECTS = 20;
/** Makes an object of about 1 KB with what upstream adds. */
const PAYLOAD_BYTES = 600;

/** Updates the configmaps of one namespace of a real cluster at a constant arrival rate, stamped with the moment they were due. */
export class ConfigMapWriter {
  readonly #client: KubeClient;
  readonly #namespace: string;
  #updates = 0;

  constructor(client: KubeClient, namespace: string) {
    this.#client = client;
    this.#namespace = namespace;
  }

  get path(): string {
    return `/api/v1/namespaces/${this.#namespace}/configmaps`;
  }

  /** Creates the namespace and its objects. */
  async prepare(): Promise<void> {
    await this.#client.create('/api/v1/namespaces', {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: this.#namespace },
    });
    for (let index = 0; index < OBJECTS; index += 1) await this.#client.create(this.path, this.#object(index, 0));
  }

  /** Writes `count` updates at `rate` per second. An update that is due while others are under way does not wait for them. */
  async run(count: number, rate: number): Promise<Written> {
    const started = monotonicMicros();
    const versions: Promise<number>[] = [];
    for (let index = 0; index < count; index += 1) {
      const due = started + (index * 1_000_000) / rate;
      const wait = (due - monotonicMicros()) / 1000;
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      versions.push(this.#update(Math.round(due)));
    }
    const all = await Promise.all(versions);
    return { count: all.length, versionSum: all.reduce((sum, version) => sum + version, 0) };
  }

  async #update(written: number): Promise<number> {
    const index = this.#updates % OBJECTS;
    this.#updates += 1;
    const { metadata } = await this.#client.replace(`${this.path}/settings-${index}`, this.#object(index, written));
    return Number(metadata.resourceVersion);
  }

  #object(index: number, written: number): object {
    return {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: {
        name: `settings-${index}`,
        namespace: this.#namespace,
        annotations: { [WRITTEN_ANNOTATION]: String(written) },
      },
      data: { 'settings.yaml': 'x'.repeat(PAYLOAD_BYTES) },
    };
  }
}
