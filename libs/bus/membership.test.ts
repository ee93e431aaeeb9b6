import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type MemoryControl, MemoryControlTable, createMemoryControl } from './memory-control.ts';
import { Membership } from './membership.ts';

function stage() {
  const clock = createFakeClock();
  const table = new MemoryControlTable();
  const lines: string[] = [];
  const log = createLogger({ level: 'debug', pretty: false, destination: { write: (line) => lines.push(line) } });
  const join = async (name: string, role = 'shard', details: () => object = () => ({})) => {
    const control = createMemoryControl(table);
    const membership = new Membership({ control, clock, log, role, name, details });
    const stopping = new AbortController();
    const done = membership.run(stopping.signal);
    onTestFinished(() => die(control, stopping));
    await clock.advanceAsync(0);
    const stop = async (): Promise<void> => {
      stopping.abort();
      await done;
    };
    return { control, membership, stop, die: () => die(control, stopping) };
  };
  return { clock, table, lines, join };
}

/** Without a word to the others. */
function die(control: MemoryControl, stopping: AbortController): void {
  control.reachable = false;
  stopping.abort();
}

describe('members', () => {
  test('know each other at once, by role and in one order, with what they say of themselves', async () => {
    const { clock, join } = stage();
    const b = await join('b', 'shard', () => ({ version: '1.2' }));
    const a = await join('a');
    await join('x/y', 'fanout');
    expect(b.membership.alive('shard')).toEqual(['a', 'b']);
    expect(a.membership.alive('shard')).toEqual(['a', 'b']);
    expect(a.membership.alive('fanout')).toEqual(['x/y']);
    expect(a.membership.alive('ingest')).toEqual([]);
    expect(a.membership.entry('shard', 'b')).toEqual({ version: '1.2', started: Math.floor(clock.wall()) });
    expect(a.membership.entry('fanout', 'x/y')).toBeDefined();
  });

  test('that stop are gone at once; listeners are told of both', async () => {
    const { join } = stage();
    const a = await join('a');
    const told: unknown[] = [];
    a.membership.onChange((role) => told.push([role, a.membership.alive(role)]));
    const b = await join('b');
    await b.stop();
    expect(told).toEqual([
      ['shard', ['a', 'b']],
      ['shard', ['a']],
    ]);
    expect(a.membership.entry('shard', 'b')).toBeUndefined();
  });

  test('that die are gone after 3 s, and are forgotten after a while', async () => {
    const { clock, table, join } = stage();
    const a = await join('a');
    const b = await join('b');
    await clock.advanceAsync(5_000);
    b.die();
    await clock.advanceAsync(2_500);
    expect(a.membership.alive('shard')).toEqual(['a', 'b']);
    await clock.advanceAsync(750);
    expect(a.membership.alive('shard')).toEqual(['a']);
    expect([...table.entries.keys()]).toEqual(['member/shard/a', 'member/shard/b']);
    await clock.advanceAsync(600_000);
    expect([...table.entries.keys()]).toEqual(['member/shard/a']);
  });

  test('that come back after they were gone are told', async () => {
    const { clock, join } = stage();
    const a = await join('a');
    const b = await join('b');
    b.control.reachable = false;
    await clock.advanceAsync(4_000);
    expect(a.membership.alive('shard')).toEqual(['a']);
    const told: string[] = [];
    a.membership.onChange((role) => told.push(role));
    b.control.reachable = true;
    await clock.advanceAsync(1_000);
    expect(a.membership.alive('shard')).toEqual(['a', 'b']);
    expect(told).toEqual(['shard']);
  });

  test('stay as they were while the table is away, and have their 3 s when it is back', async () => {
    const { clock, table, join } = stage();
    const a = await join('a');
    const b = await join('b');
    const told: string[] = [];
    a.membership.onChange((role) => told.push(role));
    table.available = false;
    await clock.advanceAsync(60_000);
    b.die();
    const c = await join('c');
    expect(a.membership.alive('shard')).toEqual(['a', 'b']);
    table.available = true;
    await clock.advanceAsync(2_500);
    expect(a.membership.alive('shard')).toEqual(['a', 'b', 'c']);
    await clock.advanceAsync(1_500);
    expect(a.membership.alive('shard')).toEqual(['a', 'c']);
    expect(c.membership.alive('shard')).toEqual(['a', 'c']);
    expect(told).toEqual(['shard', 'shard']);
  });

  test('are not taken for gone by one that was cut off itself', async () => {
    const { clock, join } = stage();
    const a = await join('a');
    const b = await join('b');
    a.control.reachable = false;
    await clock.advanceAsync(10_000);
    expect(a.membership.alive('shard')).toEqual(['a', 'b']);
    expect(b.membership.alive('shard')).toEqual(['b']);
    a.control.reachable = true;
    await clock.advanceAsync(1_000);
    expect(a.membership.alive('shard')).toEqual(['a', 'b']);
    expect(b.membership.alive('shard')).toEqual(['a', 'b']);
  });

  test('are back in a table that was lost within a second, and nobody is gone', async () => {
    const { clock, table, join } = stage();
    const a = await join('a');
    await join('b');
    const told: string[] = [];
    a.membership.onChange((role) => told.push(role));
    table.lose();
    await clock.advanceAsync(1_000);
    expect([...table.entries.keys()].toSorted()).toEqual(['member/shard/a', 'member/shard/b']);
    await clock.advanceAsync(10_000);
    expect(told).toEqual([]);
  });

  test('of one name are told apart by when they began: one says so once, naming the option', async () => {
    const { clock, lines, join } = stage();
    await join('same');
    await clock.advanceAsync(1_500);
    const second = await join('same');
    await clock.advanceAsync(5_000);
    const errors = lines.filter((line) => line.includes('"level":"error"'));
    expect(errors.length).toBeGreaterThan(0);
    expect(errors.length).toBeLessThanOrEqual(2);
    expect(errors[0]).toContain('--name');
    // What the other puts is not removed.
    second.die();
    const third = await join('other');
    await clock.advanceAsync(1_000);
    expect(third.membership.alive('shard')).toEqual(['other', 'same']);
  });

  test('that begin anew under their name after a crash say nothing of it, and the others are told', async () => {
    const { clock, lines, join } = stage();
    const a = await join('a');
    const b = await join('b');
    await clock.advanceAsync(1_000);
    b.die();
    const told: string[] = [];
    a.membership.onChange((role) => told.push(role));
    await join('b');
    await clock.advanceAsync(5_000);
    expect(told).toEqual(['shard']);
    expect(lines.filter((line) => line.includes('"level":"error"'))).toEqual([]);
  });
});
