import { readFileSync } from 'node:fs';
import { createFrameScanner } from '@dogwatch/kube/frame-scanner.ts';
import type { Encoding } from '@dogwatch/kube/lane.ts';
import { parseWatchFrame, type WatchEvent } from '@dogwatch/kube/watch-event.ts';
import { describe, expect, test } from 'vitest';
import { encodeProtobuf, type MessageSchema } from './simulated-protobuf.ts';
import { CONFIG_MAP, LEASE, POD } from './simulated-protobuf-schemas.ts';

/** The events of a watch as kube-apiserver 1.37.2 sent it. */
function recorded(resource: string, encoding: Encoding): WatchEvent[] {
  const events: WatchEvent[] = [];
  const file = new URL(`../libs/kube/testdata/${resource}-watch-${encoding}.raw`, import.meta.url);
  createFrameScanner(encoding).push(readFileSync(file), (frame) => events.push(parseWatchFrame(encoding, frame)));
  return events;
}

describe('the protobuf made of an object’s JSON', () => {
  test.each<[string, MessageSchema]>([
    ['configmaps', CONFIG_MAP],
    ['leases', LEASE],
    ['pods', POD],
  ])('is what kube-apiserver sent beside that JSON: objects and bookmarks of %s', (resource, schema) => {
    const json = recorded(resource, 'json');
    const protobuf = recorded(resource, 'protobuf');
    expect(json.length).toBeGreaterThan(3);
    for (const [index, { type, object }] of json.entries()) {
      const encoded = encodeProtobuf(schema, JSON.parse(object.toString()) as Record<string, unknown>);
      expect([type, encoded.toString('latin1')]).toEqual([
        protobuf[index]?.type,
        protobuf[index]?.object.toString('latin1'),
      ]);
    }
  });

  test('lacks nothing silently: a field without a number is an error', () => {
    const lease = { kind: 'Lease', apiVersion: 'coordination.k8s.io/v1', metadata: { name: 'a' }, spec: { mood: 1 } };
    expect(() => encodeProtobuf(LEASE, lease)).toThrow('"mood"');
  });
});
