import { interest } from '@dogwatch/watch/test-objects.ts';
import type { LaneSource } from '@dogwatch/watch/lane-view.ts';
import { expect, test } from 'vitest';
import { UnsharedLanes } from './unshared-lanes.ts';

test('Secrets are asked of the own lanes, and only of those; everything else of the shared', async () => {
  const asked: string[] = [];
  const source = (name: string): LaneSource => ({
    isOpen: ({ resource }) => asked.push(`${name} ${resource}`) > 0,
    acquire: ({ resource }) => Promise.reject(new Error(`${name} ${resource}`)),
  });
  const lanes = new UnsharedLanes({ shared: source('shared'), own: source('own') });
  for (const [group, resource, from] of [
    ['', 'secrets', 'own'],
    ['', 'pods', 'shared'],
    ['example.com', 'secrets', 'shared'],
  ] as const) {
    const lane = { group, version: 'v1', resource, encoding: 'json', view: 'object' } as const;
    expect(lanes.isOpen(lane, interest())).toBe(true);
    expect(asked.pop()).toBe(`${from} ${resource}`);
    await expect(lanes.acquire(lane, interest())).rejects.toThrow(`${from} ${resource}`);
  }
});
