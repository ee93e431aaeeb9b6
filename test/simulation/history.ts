import { Attributes, type KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { ChangeType } from '@dogwatch/watch/event-window.ts';
import type { Interest } from '@dogwatch/watch/interest.ts';
import { change, pod, podSchema } from '@dogwatch/watch/test-objects.ts';
import type { Change } from '@dogwatch/watch/watch-cache.ts';
import type { Random } from './random.ts';

const NAMESPACES = ['default', 'kube-node-lease', 'prod', 'staging', 'dev', 'ci'];
const OBJECTS_EACH = 6;
const LABELS = [{ app: 'web' }, { app: 'db' }, {}];
const NODES = ['n1', 'n2'];

/** What really happened upstream: every version and its events, in order. */
export class History {
  readonly changes: Change[] = [];
  /** Upstream's revision; other resources move it too. */
  rv: ResourceVersion = 100;
  readonly #live = new Map<string, { readonly object: KubeObject; readonly parts: Parameters<typeof pod>[2] }>();
  /** Of every key, the objects that stood under it. */
  readonly #versions = new Map<string, KubeObject[]>();
  readonly #states = new Map<ResourceVersion, ReadonlyMap<string, KubeObject>>();
  #incarnations = 0;

  /** One write, of an object or of another resource; `expiry`: many are deleted in one version, as by an etcd lease. */
  step(random: Random, expiry: boolean): void {
    this.rv += 1 + (random.chance(0.2) ? random.below(4) : 0);
    if (expiry) {
      const doomed = [...this.#live.keys()].filter(() => random.chance(0.3));
      for (const key of doomed) this.#delete(key);
      return;
    }
    const key = `${random.pick(NAMESPACES)}/o${random.below(OBJECTS_EACH)}`;
    if (this.#live.has(key) && random.chance(0.35)) this.#delete(key);
    else this.#put(key, random);
  }

  /** A write of another resource. */
  pass(): void {
    this.rv++;
  }

  /** All objects once everything up to `rv` has happened, by key. */
  objectsAt(rv: ResourceVersion): ReadonlyMap<string, KubeObject> {
    const found = this.#states.get(rv);
    if (found !== undefined && rv < this.rv) return found;
    const objects = new Map<string, KubeObject>();
    for (const { type, object } of this.changes) {
      if (object.rv > rv) break;
      if (type === 'DELETED') objects.delete(object.key);
      else objects.set(object.key, object);
    }
    this.#states.set(rv, objects);
    return objects;
  }

  /** `key@rv uid` of what `interest` selects of them, by key. */
  selectedAt(rv: ResourceVersion, interest: Interest): string[] {
    return [...this.objectsAt(rv).values()]
      .filter((object) => interest.matches(new Attributes(podSchema, object)))
      .map(({ key, rv: version, uid }) => `${key}@${version} ${uid}`)
      .toSorted();
  }

  /** The JSON of the object written under `key` at `rv`; undefined if none was. */
  writtenAt(key: string, { uid, rv }: { uid: string; rv: ResourceVersion }): string | undefined {
    return this.#versions
      .get(key)
      ?.findLast((object) => object.rv === rv && object.uid === uid)
      ?.bytes.toString();
  }

  /** The JSON of all states of object `uid` before `rv`, each with that version (row W15), the newest first. */
  statesBefore(key: string, { uid, rv }: { uid: string; rv: ResourceVersion }): string[] {
    return (this.#versions.get(key) ?? [])
      .filter((object) => object.uid === uid && object.rv < rv)
      .map((object) => object.bytes.toString().replace(`"resourceVersion":"${object.rv}"`, `"resourceVersion":"${rv}"`))
      .toReversed();
  }

  #put(key: string, random: Random): void {
    const [namespace = '', name = ''] = key.split('/');
    const held = this.#live.get(key);
    const uid = held?.object.uid ?? `uid-${++this.#incarnations}`;
    // A pod's node is set once in its life.
    const node = held?.parts?.node ?? (random.chance(0.5) ? random.pick(NODES) : undefined);
    const parts = { namespace, uid, labels: random.pick(LABELS), ...(node === undefined ? {} : { node }) };
    const object = pod(name, this.rv, parts);
    this.#live.set(key, { object, parts });
    const versions = this.#versions.get(key);
    if (versions === undefined) this.#versions.set(key, [object]);
    else versions.push(object);
    this.#push(held === undefined ? 'ADDED' : 'MODIFIED', object);
  }

  #delete(key: string): void {
    const { object, parts } = this.#live.get(key)!;
    this.#live.delete(key);
    this.#push('DELETED', pod(object.name, this.rv, parts));
  }

  #push(type: ChangeType, object: KubeObject): void {
    this.changes.push(change(type, object));
  }
}

/** What a watch with `interest` owes its client, of the whole history: entering is ADDED, leaving DELETED (row W15). */
export class Owed {
  readonly interest: Interest;
  readonly #history: History;
  readonly #events: { readonly type: ChangeType; readonly key: string; readonly uid: string; readonly rv: number }[] =
    [];
  readonly #selected = new Set<string>();
  #read = 0;

  constructor(history: History, interest: Interest) {
    this.#history = history;
    this.interest = interest;
  }

  /** Index of the first event above `rv`. */
  after(rv: ResourceVersion): number {
    this.#readOn();
    const found = this.#events.findIndex((event) => event.rv > rv);
    return found === -1 ? this.#events.length : found;
  }

  /** `TYPE key@rv uid` of the event at `index`; undefined if that has not happened. */
  at(index: number): string | undefined {
    this.#readOn();
    const event = this.#events[index];
    return event && `${event.type} ${event.key}@${event.rv} ${event.uid}`;
  }

  /** Index behind the event `text`; undefined if nobody is owed that. */
  behind(text: string): number | undefined {
    this.#readOn();
    const found = this.#events.findIndex((_, index) => this.at(index) === text);
    return found === -1 ? undefined : found + 1;
  }

  #readOn(): void {
    const { changes } = this.#history;
    for (; this.#read < changes.length; this.#read++) {
      const { type, object } = changes[this.#read]!;
      const { key, uid, rv } = object;
      const was = this.#selected.has(key);
      if (type !== 'DELETED' && this.interest.matches(new Attributes(podSchema, object))) {
        this.#selected.add(key);
        this.#events.push({ type: was ? 'MODIFIED' : 'ADDED', key, uid, rv });
      } else if (was) {
        this.#selected.delete(key);
        this.#events.push({ type: 'DELETED', key, uid, rv });
      }
    }
  }
}
