import type { Attributes } from '@dogwatch/kube/kube-object.ts';
import { RangeIndex } from './range-index.ts';
import { ValueIndex } from './value-index.ts';
import type { WatchGroup } from './watch-group.ts';

const SHARD_FIELDS = ['object.metadata.uid', 'object.metadata.namespace'] as const;

/** Watch groups under the value they are found by; those of shards also by the ranges these are made of. */
export class GroupIndex {
  readonly #whole = new ValueIndex<WatchGroup>();
  readonly #sharded = {
    'object.metadata.uid': new Map<string, RangeIndex<WatchGroup>>(),
    'object.metadata.namespace': new Map<string, RangeIndex<WatchGroup>>(),
  };

  add(value: string, group: WatchGroup): void {
    const { shards } = group.interest;
    if (shards === undefined) {
      this.#whole.add(value, group);
      return;
    }
    const indexes = this.#sharded[shards.field];
    let index = indexes.get(value);
    if (index === undefined) indexes.set(value, (index = new RangeIndex()));
    index.add(shards.ranges, group);
  }

  remove(value: string, group: WatchGroup): void {
    const { shards } = group.interest;
    if (shards === undefined) {
      this.#whole.remove(value, group);
      return;
    }
    const indexes = this.#sharded[shards.field];
    const index = indexes.get(value);
    index?.remove(group);
    if (index?.empty === true) indexes.delete(value);
  }

  /** Calls `found` once with every group under `value` whose shards, if it has any, an object is or was in. */
  visit(
    value: string,
    { now, before }: { readonly now: Attributes; readonly before: Attributes | undefined },
    found: (group: WatchGroup) => void,
  ): void {
    for (const group of this.#whole.get(value)) found(group);
    for (const field of SHARD_FIELDS) {
      const index = this.#sharded[field].get(value);
      if (index === undefined) continue;
      index.visit(field === 'object.metadata.uid' ? now.uidHash : now.namespaceHash, found);
      if (field !== 'object.metadata.uid' || before === undefined || before.object.uid === now.object.uid) continue;
      index.visit(before.uidHash, (group) => {
        if (group.interest.shards?.matches(now) !== true) found(group);
      });
    }
  }
}
