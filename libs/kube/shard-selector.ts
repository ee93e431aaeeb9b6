import { type Hash64, isLess } from './fnv1a64.ts';
import type { Attributes } from './kube-object.ts';
import { parseShardRanges, type ShardField } from './shard-selector-grammar.ts';

/** Hashes from `start` up to, but not with, `end`. */
export interface ShardRange {
  readonly start: Hash64;
  readonly end: Hash64;
}

/**
 * What part of a list's objects is asked for (KEP-5866): those the FNV-1a of whose uid or namespace lies in one of some
 * ranges.
 */
export class ShardSelector {
  /** What is hashed. */
  readonly field: ShardField;
  /** Ascending, disjoint and not touching: what it selects, whatever it was written like. Never empty. */
  readonly ranges: readonly ShardRange[];
  /** Upstream's String(), told in a list's metadata.shardInfo: the ranges as they were written. */
  readonly text: string;
  /** Equal for selectors that select the same. */
  readonly canonical: string;

  constructor(field: ShardField, ranges: readonly ShardRange[]) {
    this.field = field;
    this.ranges = merged(ranges);
    this.text = ranges.map((range) => formatRange(field, range)).join(' || ');
    this.canonical = this.ranges.map((range) => formatRange(field, range)).join(' || ');
  }

  matches(attributes: Attributes): boolean {
    const hash = this.hashOf(attributes);
    let low = 0;
    let high = this.ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isLess(hash, this.ranges[middle]!.end)) high = middle;
      else low = middle + 1;
    }
    const range = this.ranges[low];
    return range !== undefined && !isLess(hash, range.start);
  }

  /** What of an object decides. */
  hashOf(attributes: Attributes): Hash64 {
    return this.field === 'object.metadata.uid' ? attributes.uidHash : attributes.namespaceHash;
  }
}

/**
 * Parses a shard selector. Throws ShardSelectorError, with upstream's text where it is not about the grammar of CEL, of
 * which only what selectors are written in is known here: upstream also takes comments, escapes and the like.
 */
export function parseShardSelector(text: string): ShardSelector {
  const { field, ranges } = parseShardRanges(text);
  return new ShardSelector(
    field,
    ranges.map(({ start, end }) => ({ start: hash64(start), end: hash64(end) })),
  );
}

/** `0x` and 16 digits, or 2^64. */
function hash64(hex: string): Hash64 {
  return { high: Number.parseInt(hex.slice(2, -8), 16), low: Number.parseInt(hex.slice(-8), 16) };
}

function formatHash({ high, low }: Hash64): string {
  return `0x${high.toString(16).padStart(8, '0')}${low.toString(16).padStart(8, '0')}`;
}

function formatRange(field: ShardField, { start, end }: ShardRange): string {
  return `shardRange(${field}, '${formatHash(start)}', '${formatHash(end)}')`;
}

function merged(ranges: readonly ShardRange[]): readonly ShardRange[] {
  const found: ShardRange[] = [];
  for (const range of ranges.toSorted((a, b) => (isLess(a.start, b.start) ? -1 : isLess(b.start, a.start) ? 1 : 0))) {
    const last = found.at(-1);
    if (last === undefined || isLess(last.end, range.start)) found.push(range);
    else if (isLess(last.end, range.end)) found[found.length - 1] = { start: last.start, end: range.end };
  }
  return found;
}
