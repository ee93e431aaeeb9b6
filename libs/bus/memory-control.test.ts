import { describe, expect, test } from 'vitest';
import { describeControl } from './control-conformance.ts';
import { ControlUnavailable } from './control.ts';
import { MemoryControlTable, createMemoryControl } from './memory-control.ts';

describeControl('MemoryControl', async () => {
  const table = new MemoryControlTable();
  return {
    first: createMemoryControl(table),
    second: createMemoryControl(table),
    join: async () => createMemoryControl(table),
    leave: async () => {
      table.available = false;
      return () => (table.available = true);
    },
    lose: async () => table.lose(),
    close: async () => {},
  };
});

describe('MemoryControl: one that', () => {
  test('is cut off catches up when it is not any more', async () => {
    const table = new MemoryControlTable();
    const [near, far] = [createMemoryControl(table), createMemoryControl(table)];
    await near.put('removed', 1);
    await near.put('changed', 1);
    far.reachable = false;
    await expect(far.put('changed', 2)).rejects.toThrow(ControlUnavailable);
    await near.put('changed', 3);
    await near.remove('removed');
    expect(far.entries('').get('changed')?.value).toBe(1);
    const seen: unknown[] = [];
    far.watch('', (key, entry) => seen.push([key, entry?.value]));
    far.reachable = true;
    expect(seen).toEqual([
      ['changed', 3],
      ['removed', undefined],
    ]);
  });

  test('is not answered has put all the same', async () => {
    const control = createMemoryControl();
    control.losesAnswers = true;
    await expect(control.put('a', 1, 0)).rejects.toThrow(ControlUnavailable);
    expect(control.entries('').get('a')?.value).toBe(1);
  });

  test('watches puts what it sees: all see both changes in one order', async () => {
    const table = new MemoryControlTable();
    const [first, second] = [createMemoryControl(table), createMemoryControl(table)];
    first.watch('a', () => void first.put('b', 1));
    const seen: string[] = [];
    second.watch('', (key) => seen.push(key));
    await second.put('a', 1);
    expect(seen).toEqual(['a', 'b']);
  });
});
