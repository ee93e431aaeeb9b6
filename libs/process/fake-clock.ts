import assert from 'node:assert';
import type { Clock, Timer } from './clock.ts';

/** A clock that stands still until a test moves it. */
export interface FakeClock extends Clock {
  /** Moves time on by `ms`, running due timers in order of their time, then of their making. */
  advance(ms: number): void;
  /** As `advance`, and lets pending promises and immediates settle before, between and after the timers. */
  advanceAsync(ms: number): Promise<void>;
  /** Sets the wall clock alone, as an operator or NTP would. */
  setWall(epochMs: number): void;
  /** Timers that are set and not yet run. */
  readonly pending: number;
}

interface Entry {
  due: number;
  readonly order: number;
  readonly interval: number | undefined;
  readonly callback: () => void;
}

/** A clock at monotonic 0 and 2026-01-01T00:00:00Z. Timers set by a timer run in the same advance if they are due in it. */
export function createFakeClock(): FakeClock {
  const entries = new Set<Entry>();
  let now = 0;
  let wallOffset = Date.UTC(2026, 0, 1);
  let made = 0;

  const add = (callback: () => void, ms: number, interval: number | undefined): Timer => {
    const entry: Entry = { due: now + ms, order: made++, interval, callback };
    entries.add(entry);
    return { cancel: () => void entries.delete(entry) };
  };

  const nextDue = (until: number): Entry | undefined => {
    let next: Entry | undefined;
    for (const entry of entries) {
      if (entry.due > until) continue;
      if (next === undefined || entry.due < next.due || (entry.due === next.due && entry.order < next.order))
        next = entry;
    }
    return next;
  };

  const run = (entry: Entry): void => {
    now = Math.max(now, entry.due);
    if (entry.interval === undefined) entries.delete(entry);
    else entry.due += entry.interval;
    entry.callback();
  };

  return {
    now: () => now,
    wall: () => wallOffset + now,
    setTimeout: (callback, ms) => {
      assert(ms >= 0, `timeout of ${ms} ms is out of range`);
      return add(callback, ms, undefined);
    },
    setInterval: (callback, ms) => {
      assert(ms >= 1, `interval of ${ms} ms is out of range`);
      return add(callback, ms, ms);
    },
    advance(ms) {
      assert(ms >= 0, 'time does not go back');
      const until = now + ms;
      for (let entry = nextDue(until); entry !== undefined; entry = nextDue(until)) run(entry);
      now = until;
    },
    async advanceAsync(ms) {
      assert(ms >= 0, 'time does not go back');
      const until = now + ms;
      await settle();
      for (let entry = nextDue(until); entry !== undefined; entry = nextDue(until)) {
        run(entry);
        await settle();
      }
      now = until;
    },
    setWall(epochMs) {
      wallOffset = epochMs - now;
    },
    get pending() {
      return entries.size;
    },
  };
}

/** One turn of the event loop: every promise that can settle without I/O has. */
function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
