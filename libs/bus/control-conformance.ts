import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Control, ControlConflict, type ControlEntry, ControlUnavailable } from './control.ts';

/** One table as two processes have it. */
export interface TestControls {
  readonly first: Control;
  readonly second: Control;
  /** The same table as a process that begins now has it. */
  readonly join: () => Promise<Control>;
  /** Lets no put get through, until the function it resolves with is called. */
  readonly leave: () => Promise<() => void>;
  /** The store of the table is lost with all there was. */
  readonly lose: () => Promise<void>;
  readonly close: () => Promise<void>;
}

type Create = () => Promise<TestControls>;

/** What every Control does, whoever keeps its table. */
export function describeControl(name: string, create: Create): void {
  const start = async (): Promise<TestControls> => {
    const started = await create();
    onTestFinished(() => started.close());
    return started;
  };
  describeEntries(name, start);
  describeConditions(name, start);
  describeFaults(name, start);
}

/** Tries again while the table cannot be reached. */
export async function put(control: Control, key: string, value: unknown, expected?: number): Promise<number> {
  return patiently(() => control.put(key, value, expected));
}

async function patiently<T>(attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof ControlUnavailable)) throw error;
      await sleep(20);
    }
  }
}

function valuesOf(entries: ReadonlyMap<string, ControlEntry>): Record<string, unknown> {
  return Object.fromEntries([...entries].map(([key, { value }]) => [key, value]));
}

function describeEntries(name: string, start: Create): void {
  describe(`${name}: entries`, () => {
    test('put by one are seen by all, with their versions', async () => {
      const { first, second } = await start();
      const version = await put(first, 'member/shard/a', { started: 1 });
      await patiently(() => second.caughtUp());
      expect(second.entries('member/')).toEqual(new Map([['member/shard/a', { value: { started: 1 }, version }]]));
      const next = await put(second, 'member/shard/a', { started: 2 });
      expect(next).toBeGreaterThan(version);
      await patiently(() => first.caughtUp());
      expect(first.entries('member/shard/a')).toEqual(
        new Map([['member/shard/a', { value: { started: 2 }, version: next }]]),
      );
    });

    test('are watched in the order they were put, under a prefix, until stopped', async () => {
      const { first, second } = await start();
      const seen: unknown[] = [];
      const stop = second.watch('member/shard/', (key, entry) => seen.push([key, entry?.value]));
      await put(first, 'member/shard/a', 1);
      await put(first, 'member/fanout/a', 2);
      await put(first, 'member/shard/b', 3);
      await put(first, 'member/shard/a', 4);
      await patiently(() => first.remove('member/shard/a'));
      await patiently(() => second.caughtUp());
      const expected = [
        ['member/shard/a', 1],
        ['member/shard/b', 3],
        ['member/shard/a', 4],
        ['member/shard/a', undefined],
      ];
      // One that is overwritten before it was read may be left out, never one that is the last.
      expect(expected).toEqual(expect.arrayContaining(seen));
      expect(seen.slice(-1)).toEqual(expected.slice(-1));
      const count = seen.length;
      stop();
      await put(first, 'member/shard/c', 5);
      await patiently(() => second.caughtUp());
      expect(seen).toHaveLength(count);
    });

    test('keep their keys and values, whatever they are', async () => {
      const { first, second, join } = await start();
      const values: Record<string, unknown> = {
        a: null,
        'a.b': 'text',
        'a/b': { nested: [1, { deep: true }] },
        'a/b/c': 0,
        'a//b': [],
        'a b/*/>': '',
        'ingest/apps.example.com/x_y': 'ü',
        '=mark': false,
        ä: 'NaN',
      };
      for (const [key, value] of Object.entries(values)) await put(first, key, value);
      await patiently(() => second.caughtUp());
      expect(valuesOf(second.entries(''))).toEqual(values);
      expect(valuesOf((await join()).entries(''))).toEqual(values);
      expect([...second.entries('a/').keys()].toSorted()).toEqual(['a//b', 'a/b', 'a/b/c']);
    });

    test('are there for whoever begins later, unless they were removed', async () => {
      const { first, join } = await start();
      const kept = await put(first, 'kept', 1);
      await put(first, 'removed', 1);
      await patiently(() => first.remove('removed'));
      expect((await join()).entries('')).toEqual(new Map([['kept', { value: 1, version: kept }]]));
    });
  });
}

function describeConditions(name: string, start: Create): void {
  describe(`${name}: conditions`, () => {
    test('a put over none succeeds once', async () => {
      const { first, second } = await start();
      await put(first, 'lease', 'first', 0);
      await expect(put(second, 'lease', 'second', 0)).rejects.toThrow(ControlConflict);
      await patiently(() => second.caughtUp());
      expect(valuesOf(second.entries(''))).toEqual({ lease: 'first' });
    });

    test('a put over a version succeeds while the entry has it', async () => {
      const { first, second } = await start();
      const version = await put(first, 'lease', 1, 0);
      await put(second, 'lease', 2, version);
      await expect(put(first, 'lease', 3, version)).rejects.toThrow(ControlConflict);
      await expect(put(first, 'other', 3, version)).rejects.toThrow(ControlConflict);
      await patiently(() => first.caughtUp());
      expect(valuesOf(first.entries(''))).toEqual({ lease: 2 });
    });

    test('an entry that was removed is none, again and again', async () => {
      const { first, second } = await start();
      for (let i = 0; i < 3; i++) {
        const version = await put(first, 'lease', i, 0);
        await patiently(() => second.caughtUp());
        await expect(patiently(() => second.remove('lease', version - 1))).rejects.toThrow(ControlConflict);
        await patiently(() => second.remove('lease', version));
        await expect(put(first, 'lease', 'late', version)).rejects.toThrow(ControlConflict);
      }
      await patiently(() => first.caughtUp());
      expect(first.entries('')).toEqual(new Map());
    });

    test('of rivals that put at once one succeeds: no increment of a counter is lost', async () => {
      const { first, second, join } = await start();
      const third = await join();
      const increments = 30;
      const count = async (control: Control): Promise<void> => {
        for (let done = 0; done < increments;) {
          await patiently(() => control.caughtUp());
          const entry = control.entries('counter').get('counter');
          try {
            await put(control, 'counter', Number(entry?.value ?? 0) + 1, entry?.version ?? 0);
            done++;
          } catch (error) {
            if (!(error instanceof ControlConflict)) throw error;
          }
        }
      };
      await Promise.all([first, second, third].map(count));
      await patiently(() => first.caughtUp());
      expect(valuesOf(first.entries(''))).toEqual({ counter: 3 * increments });
    });
  });
}

function describeFaults(name: string, start: Create): void {
  describe(`${name}: a table that`, () => {
    test('is away takes nothing, keeps what was seen, and comes back', async () => {
      const { first, second, leave } = await start();
      await put(first, 'a', 1);
      await patiently(() => second.caughtUp());
      const comeBack = await leave();
      await expect(second.put('b', 2)).rejects.toThrow(ControlUnavailable);
      await expect(second.caughtUp()).rejects.toThrow(ControlUnavailable);
      expect(valuesOf(second.entries(''))).toEqual({ a: 1 });
      comeBack();
      await put(first, 'a', 3);
      await patiently(() => second.caughtUp());
      // What was put while it was away may have got there late.
      expect(valuesOf(second.entries('a'))).toEqual({ a: 3 });
    });

    test('was lost keeps its entries in the eyes of all who saw them, and one of them puts each back', async () => {
      const { first, second, join, lose } = await start();
      const held = await put(first, 'lease', 'first', 0);
      const member = await put(first, 'member', 1);
      await patiently(() => second.caughtUp());
      const removed: string[] = [];
      second.watch('', (key, entry) => {
        if (entry === undefined) removed.push(key);
      });
      await lose();
      await patiently(() => second.caughtUp());
      expect(valuesOf(second.entries(''))).toEqual({ lease: 'first', member: 1 });
      await expect(put(second, 'lease', 'second', 0)).rejects.toThrow(ControlConflict);
      const back = await put(first, 'lease', 'again', held);
      expect(back).toBeGreaterThan(Math.max(held, member));
      await expect(put(second, 'lease', 'second', held)).rejects.toThrow(ControlConflict);
      await patiently(() => second.caughtUp());
      expect(valuesOf(second.entries(''))).toEqual({ lease: 'again', member: 1 });
      expect(removed).toEqual([]);
      expect(valuesOf((await join()).entries(''))).toEqual({ lease: 'again' });
      await patiently(() => second.remove('member', member));
      await patiently(() => second.caughtUp());
      expect(removed).toEqual(['member']);
    });
  });
}
