import { Attributes, type KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { ChangeType } from './event-window.ts';
import type { Interest } from './interest.ts';
import { change, pod, podSchema } from './test-objects.ts';
import type { Change } from './watch-cache.ts';

/** One write to upstream. Each picks one of a few objects, so that all that can happen to one does. */
export interface Write {
  readonly object: number;
  readonly app: 'web' | 'db' | undefined;
  readonly node: 'n1' | 'n2' | '';
  readonly kind: 'put' | 'delete';
}

interface Live {
  readonly object: KubeObject;
  readonly node: string;
}

const NAMES = ['a/x', 'a/y', 'a-b/x', 'b/x', 'b/z'];

/** What really happened upstream: every version, its events in order, and all objects after it. */
export class History {
  readonly changes: Change[] = [];
  readonly #states: { readonly rv: ResourceVersion; readonly live: ReadonlyMap<string, Live> }[] = [
    { rv: 0, live: new Map() },
  ];
  /** Upstream's revision; other resources move it too. */
  rv = 0;
  #incarnations = 0;

  /**
   * All writes in one version, those that do nothing left out. kube-apiserver writes one object at a time; only an
   * expiring lease of etcd changes many in one version, and that deletes them.
   */
  commit(writes: readonly Write[], gap: number): void {
    this.rv += 1 + gap;
    const live = new Map(this.#states.at(-1)!.live);
    const touched = new Set<string>();
    for (const write of writes) {
      const key = NAMES[write.object % NAMES.length]!;
      if (touched.has(key)) continue;
      touched.add(key);
      this.#write(live, key, writes.length === 1 ? write : { ...write, kind: 'delete' });
    }
    this.#states.push({ rv: this.rv, live });
  }

  #write(live: Map<string, Live>, key: string, { kind, app, node }: Write): void {
    const held = live.get(key);
    const [namespace = '', name = ''] = key.split('/');
    const build = (uid: string, on: string, labels: Record<string, string>): KubeObject =>
      pod(name, this.rv, { namespace, uid, node: on, labels });
    if (kind === 'delete') {
      if (held === undefined) return;
      live.delete(key);
      const labels = Object.fromEntries(new Attributes(podSchema, held.object).labels());
      this.#push('DELETED', build(held.object.uid, held.node, labels));
      return;
    }
    // A pod's node is set once in its life.
    const on = held === undefined || held.node === '' ? node : held.node;
    // What begins alike would hash alike, and be in one shard.
    const uid = held?.object.uid ?? `${++this.#incarnations}-uid`;
    const object = build(uid, on, app === undefined ? {} : { app });
    live.set(key, { object, node: on });
    this.#push(held === undefined ? 'ADDED' : 'MODIFIED', object);
  }

  #push(type: ChangeType, object: KubeObject): void {
    this.changes.push(change(type, object));
  }

  /** All objects once everything up to `rv` has happened. */
  objectsAt(rv: ResourceVersion): KubeObject[] {
    const state = this.#states.findLast((candidate) => candidate.rv <= rv)!;
    return [...state.live.values()].map(({ object }) => object);
  }

  /** `key@rv uid` of what `interest` selects of them, by key. */
  selectedAt(rv: ResourceVersion, interest: Interest): string[] {
    return this.objectsAt(rv)
      .filter((object) => interest.matches(new Attributes(podSchema, object)))
      .map(({ key, rv: version, uid }) => `${key}@${version} ${uid}`)
      .toSorted();
  }
}
