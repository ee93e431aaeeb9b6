import type { Attributes, ObjectSchema } from '@dogwatch/kube/kube-object.ts';
import type { FieldSelector, LabelSelector } from '@dogwatch/kube/selector.ts';
import type { ShardSelector } from '@dogwatch/kube/shard-selector.ts';
import type { WindowEntry } from './event-window.ts';

export interface InterestParts {
  /** "" for all namespaces. */
  readonly namespace: string;
  /** A single object, from the path or from fieldSelector metadata.name; "" for all. */
  readonly name: string;
  readonly labels: LabelSelector;
  readonly fields: FieldSelector;
  /** Undefined for all. */
  readonly shards?: ShardSelector;
}

/**
 * What a client asked to see of a lane: scope and selectors, exactly as authorized. Interests with the same canonical
 * form are the same interest and share one watch group.
 */
export class Interest {
  readonly namespace: string;
  readonly name: string;
  readonly labels: LabelSelector;
  readonly fields: FieldSelector;
  readonly shards: ShardSelector | undefined;
  /** Equal for interests that select the same, whatever the order their requirements came in. */
  readonly key: string;

  constructor(parts: InterestParts) {
    this.namespace = parts.namespace;
    this.name = parts.name;
    this.labels = parts.labels;
    this.fields = parts.fields;
    this.shards = parts.shards;
    const fields = parts.fields.requirements.map(({ field, equals, value }) => JSON.stringify([field, equals, value]));
    const { namespace, name, labels, shards } = parts;
    this.key = JSON.stringify([namespace, name, labels.canonical, fields.toSorted(), shards?.canonical]);
  }

  /** True if every object of the scope is selected, so that no selector needs evaluating. */
  get selectsWholeScope(): boolean {
    return this.labels.empty && this.fields.empty && this.shards === undefined;
  }

  /**
   * True if an object, once selected, stays selected for its life: then neither its earlier state nor a tombstone is
   * needed to tell its watchers of a change. The indexed field, a pod's node, is set once; other fields may change, also
   * one of that name in a custom resource. Its shard never changes: a new uid is another object.
   */
  cannotBeLeft(schema: ObjectSchema): boolean {
    if (!this.labels.empty) return false;
    return this.fields.requirements.every(
      ({ field, equals, value }) =>
        equals && (field.startsWith('metadata.') || (field === schema.indexedField && value !== '')),
    );
  }

  /** The one value it asks of the indexed field, if the resource has one and it does. */
  indexedValue(schema: ObjectSchema): string | undefined {
    return schema.indexedField === undefined ? undefined : this.fields.exactValue(schema.indexedField);
  }

  /** Key prefix of the scope: "" for everything, `ns/` for a namespace. */
  get keyPrefix(): string {
    return this.namespace === '' ? '' : `${this.namespace}/`;
  }

  matches(attributes: Attributes): boolean {
    const { object } = attributes;
    if (this.namespace !== '' && object.namespace !== this.namespace) return false;
    if (this.name !== '' && object.name !== this.name) return false;
    for (const { field, equals, value } of this.fields.requirements) {
      if ((attributes.field(field) === value) !== equals) return false;
    }
    if (this.shards !== undefined && !this.shards.matches(attributes)) return false;
    return this.labels.empty || this.labels.matches(attributes.labels());
  }

  /**
   * The frame watchers of this interest get for a change, or undefined if it is none of theirs (protocol row W15).
   * `before` is undefined where there was no such object, or none is known.
   */
  frameOf(entry: WindowEntry, now: Attributes, before: Attributes | undefined): Buffer | undefined {
    if (entry.backfilled && before === undefined) return this.matches(now) ? entry.frame(entry.type) : undefined;
    const was = before !== undefined && this.matches(before);
    if (entry.type === 'DELETED') return was ? entry.frame('DELETED') : undefined;
    const is = this.matches(now);
    if (is) return entry.frame(was ? 'MODIFIED' : 'ADDED');
    return was ? entry.departure() : undefined;
  }
}
