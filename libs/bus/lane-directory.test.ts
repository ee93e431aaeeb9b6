import { describe, expect, test } from 'vitest';
import { LaneDirectory, type LaneEntry, resourceKey, resourceOf } from './lane-directory.ts';
import { createMemoryControl } from './memory-control.ts';

const LEASES = { group: 'coordination.k8s.io', resource: 'leases' };
const PODS = { group: '', resource: 'pods' };
const ENTRY: LaneEntry = { version: 'v1', encoding: 'protobuf', view: 'object', partitions: 16, epoch: 3, rv: 10 };

function started() {
  const control = createMemoryControl();
  const directory = new LaneDirectory(control);
  const put = (resource: typeof PODS, holder: string, ...lanes: readonly LaneEntry[]): Promise<number> =>
    control.put(resourceKey(resource), { holder, lanes });
  return { control, directory, put };
}

test.each([PODS, LEASES])('the key of %o is read back', (resource) => {
  expect(resourceOf(resourceKey(resource))).toEqual(resource);
});

describe('a directory', () => {
  test('names who leads a resource, and not who led it', async () => {
    const { directory, put } = started();
    expect(directory.leaderOf(PODS)).toBeUndefined();
    await put(PODS, 'ingest-0');
    expect(directory.leaderOf(PODS)).toBe('ingest-0');
    expect(directory.leaderOf({ group: '', resource: 'pod' }), 'a key is no prefix').toBeUndefined();
    await put(PODS, '', ENTRY);
    expect(directory.leaderOf(PODS)).toBeUndefined();
  });

  test('lists the lanes that are read, also while nobody leads', async () => {
    const { directory, put } = started();
    await put(LEASES, '', ENTRY);
    await put(PODS, 'ingest-0', { ...ENTRY, encoding: 'json', partitions: 4 });
    expect(directory.lanes().map(({ lane, partitions }) => ({ ...lane, partitions }))).toEqual([
      { ...LEASES, version: 'v1', encoding: 'protobuf', view: 'object', partitions: 16 },
      { ...PODS, version: 'v1', encoding: 'json', view: 'object', partitions: 4 },
    ]);
  });

  test('tells of what changed, and not of each renewal', async () => {
    const { control, directory, put } = started();
    await put(PODS, 'ingest-0', ENTRY);
    let told = 0;
    const stop = directory.onChange(() => told++);
    const counts: number[] = [];
    for (const change of [
      () => put(PODS, 'ingest-0', { ...ENTRY, rv: 11 }),
      () => put(PODS, 'ingest-1', { ...ENTRY, rv: 12 }),
      () => put(PODS, 'ingest-1', { ...ENTRY, epoch: 4 }),
      () => put(LEASES, ''),
      () => put(LEASES, 'ingest-0'),
      () => control.remove(resourceKey(PODS)),
      () => control.put('member/shard/shard-0', { started: 1 }),
    ]) {
      await change();
      counts.push(told);
    }
    expect(counts).toEqual([0, 1, 2, 2, 3, 4, 4]);
    stop();
    await put(PODS, 'ingest-2');
    expect(told).toBe(4);
  });
});
