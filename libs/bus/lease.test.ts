import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ControlUnavailable } from './control.ts';
import { Lease, LeaseLost } from './lease.ts';
import { type MemoryControl, MemoryControlTable, createMemoryControl } from './memory-control.ts';

const KEY = 'ingest/core/pods';
const log = createLogger({ level: 'error', pretty: false, destination: { write: () => {} } });

interface Lanes {
  readonly lanes: readonly string[];
}

interface Rival {
  readonly control: MemoryControl;
  readonly lease: Lease<Lanes>;
  /** What happened to it. */
  readonly events: string[];
  readonly stop: () => Promise<void>;
  readonly die: () => void;
}

function stage() {
  const clock = createFakeClock();
  const table = new MemoryControlTable();
  /** One that takes the lease whenever it can, unless it is `idle`. */
  const join = (holder: string, { lanes = [] as string[], idle = false } = {}): Rival => {
    const control = createMemoryControl(table);
    const content = (before: Lanes | undefined): Lanes => ({
      lanes: [...new Set([...(before?.lanes ?? []), ...lanes])],
    });
    const lease = new Lease<Lanes>({ control, clock, log, key: KEY, holder, content });
    const events: string[] = [];
    lease.onLost(() => events.push('lost'));
    lease.onFree(() => {
      if (events.at(-1) !== 'free') events.push('free');
      if (!idle) void lease.acquire();
    });
    const stopping = new AbortController();
    const done = lease.run(stopping.signal);
    const die = (): void => {
      control.reachable = false;
      stopping.abort();
    };
    onTestFinished(die);
    const stop = async (): Promise<void> => {
      stopping.abort();
      await done;
    };
    return { control, lease, events, stop, die };
  };
  return { clock, table, join };
}

describe('a lease', () => {
  test('is for one: the second waits and knows who holds it, and what for', async () => {
    const { clock, table, join } = stage();
    const a = join('a', { lanes: ['v1'], idle: true });
    const b = join('b', { idle: true });
    expect(await Promise.all([a.lease.acquire(), b.lease.acquire()])).toEqual([true, false]);
    expect(await a.lease.acquire()).toBe(true);
    await clock.advanceAsync(10_000);
    expect(await b.lease.acquire()).toBe(false);
    expect([a.lease.held, b.lease.held]).toEqual([true, false]);
    expect([a.lease.holder, b.lease.holder]).toEqual(['a', 'a']);
    expect(b.lease.entry).toEqual({ lanes: ['v1'] });
    expect(table.entries.get(KEY)?.value).toEqual({ holder: 'a', lanes: ['v1'] });
  });

  test('of one that died is free after 2 s, and what it was for is kept', async () => {
    const { clock, join } = stage();
    const a = join('a', { lanes: ['v1'] });
    await clock.advanceAsync(0);
    const b = join('b', { lanes: ['v2'] });
    await clock.advanceAsync(5_000);
    a.die();
    await clock.advanceAsync(1_400);
    expect([b.lease.held, b.lease.holder]).toEqual([false, 'a']);
    await clock.advanceAsync(800);
    expect([b.lease.held, b.lease.holder]).toEqual([true, 'b']);
    expect(b.lease.entry).toEqual({ lanes: ['v1', 'v2'] });
    expect(b.events).toEqual(['free']);
  });

  test('that is released is taken by the next at once', async () => {
    const { clock, join } = stage();
    const a = join('a', { lanes: ['v1'] });
    await clock.advanceAsync(0);
    const b = join('b');
    await clock.advanceAsync(1_000);
    await a.stop();
    expect([a.lease.held, a.events]).toEqual([false, ['free']]);
    await clock.advanceAsync(0);
    expect([b.lease.held, b.lease.entry]).toEqual([true, { lanes: ['v1'] }]);
  });

  test('is our own again at once after a crash under the same name', async () => {
    const { clock, join } = stage();
    join('a').die();
    const first = join('a');
    await clock.advanceAsync(100);
    first.die();
    const second = join('a', { idle: true });
    expect(await second.lease.acquire()).toBe(true);
  });

  test('whose content changed is put when asked, not at the next renewal', async () => {
    const { clock, table, join } = stage();
    const lanes = ['v1'];
    const a = join('a', { lanes });
    await clock.advanceAsync(100);
    lanes.push('v2');
    await Promise.all([a.lease.renew(), a.lease.renew()]);
    expect(table.entries.get(KEY)?.value).toEqual({ holder: 'a', lanes: ['v1', 'v2'] });
  });

  test('cannot be renewed by one that does not hold it, or cannot reach the table', async () => {
    const { clock, table, join } = stage();
    const a = join('a');
    await clock.advanceAsync(0);
    const b = join('b');
    await expect(b.lease.renew()).rejects.toThrow(LeaseLost);
    table.available = false;
    await expect(a.lease.renew()).rejects.toThrow(ControlUnavailable);
    expect(await b.lease.acquire()).toBe(false);
    table.available = true;
    await a.lease.renew();
  });

  test('that was taken over is lost as soon as the entry of the rival is seen', async () => {
    const { clock, join } = stage();
    const a = join('a', { idle: true });
    await a.lease.acquire();
    const b = join('b');
    await clock.advanceAsync(1_000);
    a.control.reachable = false;
    await clock.advanceAsync(3_000);
    expect([a.lease.held, b.lease.held]).toEqual([true, true]);
    a.control.reachable = true;
    expect([a.lease.held, a.lease.holder, a.events]).toEqual([false, 'b', ['free', 'lost']]);
    await expect(a.lease.renew()).rejects.toThrow(LeaseLost);
    await clock.advanceAsync(10_000);
    expect([a.lease.held, b.lease.held, b.events]).toEqual([false, true, ['free']]);
  });

  test('that was taken over while it stood still does not release what is not its own', async () => {
    const { clock, table, join } = stage();
    const a = join('a');
    await clock.advanceAsync(0);
    const b = join('b');
    await clock.advanceAsync(1_000);
    a.control.reachable = false;
    await clock.advanceAsync(3_000);
    await a.stop();
    expect(b.lease.held).toBe(true);
    expect(table.entries.get(KEY)?.value).toMatchObject({ holder: 'b' });
  });

  test('is kept while the table is away, however long, and for 2 s after', async () => {
    const { clock, table, join } = stage();
    const a = join('a');
    await clock.advanceAsync(0);
    const b = join('b');
    await clock.advanceAsync(1_000);
    table.available = false;
    await clock.advanceAsync(60_000);
    table.available = true;
    await clock.advanceAsync(60_000);
    expect([a.lease.held, b.lease.held, a.events, b.events]).toEqual([true, false, ['free'], []]);
  });

  test('is kept when its renewals were held up by what also broke the connection of its rivals', async () => {
    const { clock, table, join } = stage();
    const a = join('a');
    await clock.advanceAsync(0);
    const b = join('b');
    await clock.advanceAsync(1_400);
    for (const { control } of [a, b]) {
      control.reachable = false;
      control.reachable = true;
    }
    const put = a.control.put.bind(a.control);
    const heldUpUntil = clock.now() + 1_800;
    a.control.put = async (...request) => {
      if (clock.now() < heldUpUntil) throw new ControlUnavailable(KEY, new Error('held up'));
      return put(...request);
    };
    await clock.advanceAsync(10_000);
    expect([a.lease.held, b.lease.held, a.events, b.events]).toEqual([true, false, ['free'], []]);
    expect(table.entries.get(KEY)?.value).toMatchObject({ holder: 'a' });
  });

  test('is kept when the table was lost', async () => {
    const { clock, table, join } = stage();
    const a = join('a', { lanes: ['v1'] });
    await clock.advanceAsync(0);
    const b = join('b');
    await clock.advanceAsync(1_100);
    table.lose();
    await clock.advanceAsync(1_000);
    expect(table.entries.get(KEY)?.value).toEqual({ holder: 'a', lanes: ['v1'] });
    await clock.advanceAsync(10_000);
    expect([a.lease.held, b.lease.held, a.events, b.events]).toEqual([true, false, ['free'], []]);
  });

  test('is kept by a holder that is not told that its renewals were put', async () => {
    const { clock, join } = stage();
    const a = join('a');
    await clock.advanceAsync(0);
    const b = join('b');
    a.control.losesAnswers = true;
    await clock.advanceAsync(10_000);
    a.control.losesAnswers = false;
    await clock.advanceAsync(10_000);
    expect([a.lease.held, b.lease.held, a.events, b.events]).toEqual([true, false, ['free'], []]);
  });

  test('is kept when the table was lost with a renewal that was never seen', async () => {
    const { clock, table, join } = stage();
    const a = join('a');
    await clock.advanceAsync(0);
    const b = join('b');
    a.control.lagging = true;
    await clock.advanceAsync(700);
    table.lose();
    await clock.advanceAsync(10_000);
    expect([a.lease.held, b.lease.held, a.events, b.events]).toEqual([true, false, ['free'], []]);
  });

  test('is lost to a rival in a table that lost its end, and with it our entry', async () => {
    const { clock, table, join } = stage();
    const a = join('a');
    await clock.advanceAsync(1_000);
    table.lose();
    table.entries.set(KEY, { value: { holder: 'b', lanes: [] }, version: 1 });
    await expect(a.lease.renew()).rejects.toThrow(LeaseLost);
    expect([a.lease.held, a.events]).toEqual([false, ['free', 'lost']]);
  });

  test('acquired without being told so is acquired again, for the entry says it is our own', async () => {
    const { clock, join } = stage();
    const a = join('a', { idle: true });
    a.control.losesAnswers = true;
    expect(await a.lease.acquire()).toBe(false);
    a.control.losesAnswers = false;
    await clock.advanceAsync(600);
    expect(a.events).toEqual(['free']);
    expect(await a.lease.acquire()).toBe(true);
  });

  test('is not held by one whose answer came when a rival had taken it over', async () => {
    const { clock, join } = stage();
    const a = join('a', { idle: true });
    const b = join('b', { idle: true });
    const answer = Promise.withResolvers<void>();
    const put = a.control.put.bind(a.control);
    a.control.put = async (...request) => {
      const version = await put(...request);
      await answer.promise;
      return version;
    };
    const acquired = a.lease.acquire();
    await clock.advanceAsync(2_500);
    expect(await b.lease.acquire()).toBe(true);
    answer.resolve();
    expect(await acquired).toBe(false);
    expect([a.lease.held, a.lease.holder]).toEqual([false, 'b']);
  });

  test('that somebody removed is put again by its holder', async () => {
    const { clock, table, join } = stage();
    const a = join('a', { lanes: ['v1'] });
    await clock.advanceAsync(0);
    await a.control.remove(KEY);
    await clock.advanceAsync(1_000);
    expect([a.lease.held, table.entries.get(KEY)?.value]).toEqual([true, { holder: 'a', lanes: ['v1'] }]);
  });
});

const STEPS = fc.array(
  fc.record({
    what: fc.constantFrom('away', 'back', 'lose', 'cut', 'mend', 'deaf', 'hears', 'lags', 'prompt'),
    who: fc.nat(2),
    ms: fc.integer({ min: 0, max: 4_000 }),
  }),
  { maxLength: 30 },
);

describe('among rivals, whatever happens to the table and the ways to it,', () => {
  const act = (table: MemoryControlTable, { control }: Rival, what: string): void => {
    if (what === 'away' || what === 'back') table.available = what === 'back';
    else if (what === 'lose') table.lose();
    else if (what === 'cut' || what === 'mend') control.reachable = what === 'mend';
    else if (what === 'lags' || what === 'prompt') control.lagging = what === 'lags';
    else control.losesAnswers = what === 'deaf';
  };

  test('one holds the lease in the end, and it knows', async () => {
    await fc.assert(
      fc.asyncProperty(STEPS, async (steps) => {
        const { clock, table, join } = stage();
        const rivals = ['a', 'b', 'c'].map((name) => join(name));
        for (const { what, who, ms } of steps) {
          act(table, rivals[who]!, what);
          await clock.advanceAsync(ms);
        }
        act(table, rivals[0]!, 'back');
        for (const rival of rivals) for (const what of ['prompt', 'mend', 'hears']) act(table, rival, what);
        await clock.advanceAsync(5_000);
        const holders = rivals.filter(({ lease }) => lease.held).map(({ lease }) => lease.holder);
        expect(holders).toHaveLength(1);
        expect(rivals.map(({ lease }) => lease.holder)).toEqual([holders[0], holders[0], holders[0]]);
        for (const { die } of rivals) die();
      }),
      { numRuns: 60 },
    );
  });

  test('nobody is deposed that can reach the table whenever a rival can', async () => {
    await fc.assert(
      fc.asyncProperty(STEPS, async (steps) => {
        const { clock, table, join } = stage();
        const rivals = ['a', 'b', 'c'].map((name) => join(name));
        await clock.advanceAsync(1_000);
        const holder = rivals.find(({ lease }) => lease.held)!;
        for (const { what, who, ms } of steps) {
          if (rivals[who] !== holder || what !== 'cut') act(table, rivals[who]!, what);
          await clock.advanceAsync(ms);
        }
        expect([holder.lease.held, holder.events]).toEqual([true, ['free']]);
        for (const { die } of rivals) die();
      }),
      { numRuns: 60 },
    );
  });
});
