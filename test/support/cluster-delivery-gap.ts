import type { RecordedStream } from './watch-recorder.ts';

/**
 * The longest time without an object's event on a stream that overlaps (from, to), ms; all in `performance.now()`.
 * What was silent before `from` counts from its last event on, what still is at `to` counts until then.
 */
export function longestSilence({ events, times }: RecordedStream, from: number, to: number): number {
  let longest = 0;
  let last = Number.NEGATIVE_INFINITY;
  for (const [index, time] of times.entries()) {
    const { type } = events[index] ?? {};
    if (type === 'BOOKMARK' || type === 'ERROR') continue;
    if (time > from) longest = Math.max(longest, Math.min(time, to) - Math.max(last, firstOf(times)));
    last = time;
    if (time >= to) return longest;
  }
  return Math.max(longest, to - Math.max(last, firstOf(times)));
}

/** As `longestSilence`, of the stream that was silent longest. */
export function deliveryGap(streams: readonly RecordedStream[], from: number, to: number): number {
  return Math.max(...streams.map((stream) => longestSilence(stream, from, to)));
}

/** The value that so many of a hundred are at or below; `values` need not be sorted. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? 0;
}

function firstOf(times: readonly number[]): number {
  return times[0] ?? 0;
}
