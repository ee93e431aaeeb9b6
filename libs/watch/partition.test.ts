import type { Lane } from '@dogwatch/kube/lane.ts';
import { describe, expect, test } from 'vitest';
import { partitionOf, trackOf } from './partition.ts';

const LEASES: Lane = {
  group: 'coordination.k8s.io',
  version: 'v1',
  resource: 'leases',
  encoding: 'json',
  view: 'object',
};

test('a track is named by lane and partition', () => {
  expect(trackOf(LEASES)).toBe('coordination.k8s.io/v1/leases/json/object/0');
  expect(trackOf(LEASES, 15)).toBe('coordination.k8s.io/v1/leases/json/object/15');
});

describe('the partition of an object', () => {
  // Computed with Go's hash/fnv, which nats-server's partition() uses. Never change an expectation: the mapping is
  // what processes of different versions on one bus agree on.
  test.each([
    { namespace: 'default', name: 'web', in3: 0, in4: 2, in16: 14 },
    { namespace: 'kube-system', name: 'web', in3: 2, in4: 2, in16: 14 },
    { namespace: 'kube-node-lease', name: 'node-0001', in3: 0, in4: 3, in16: 15 },
    { namespace: 'kube-node-lease', name: 'node-0002', in3: 2, in4: 2, in16: 2 },
    { namespace: '', name: 'kube-node-lease', in3: 0, in4: 0, in16: 4 },
    { namespace: '', name: 'node-0001', in3: 2, in4: 3, in16: 3 },
    { namespace: '', name: 'a', in3: 1, in4: 0, in16: 12 },
    { namespace: '', name: 'foobar', in3: 1, in4: 0, in16: 8 },
    { namespace: '', name: 'système:lecteur', in3: 2, in4: 1, in16: 13 },
    { namespace: '', name: '𝒳', in3: 1, in4: 1, in16: 13 },
  ])('"$namespace"/"$name" is $in3 of 3, $in4 of 4, $in16 of 16', ({ namespace, name, in3, in4, in16 }) => {
    expect([3, 4, 16].map((partitions) => partitionOf(namespace, name, partitions))).toEqual([in3, in4, in16]);
  });

  test('is the only one there is', () => {
    expect(partitionOf('default', 'web', 1)).toBe(0);
    expect(partitionOf('', 'node-0001', 1)).toBe(0);
  });

  test('is that of its whole namespace, unless the namespace is hot', () => {
    const names = Array.from({ length: 100 }, (_, i) => `object-${i}`);
    const partitionsOf = (namespace: string): number =>
      new Set(names.map((name) => partitionOf(namespace, name, 16))).size;
    expect(partitionsOf('default')).toBe(1);
    expect(partitionsOf('kube-node-lease')).toBe(16);
    expect(partitionsOf('')).toBe(16);
  });
});
