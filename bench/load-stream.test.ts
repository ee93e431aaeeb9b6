import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { frameBookmark, frameStatusEvent, minimalBookmark } from '@dogwatch/kube/event-framer.ts';
import { expired } from '@dogwatch/kube/status.ts';
import { LagHistogram } from './lag-histogram.ts';
import { emptyCounts, LoadStream, type LoadTotals } from './load-stream.ts';
import { populateFleets } from './rate-fleets.ts';
import { SIMULATED_RESOURCES } from './simulated-resources.ts';
import { SimulatedStore } from './simulated-store.ts';
import { WRITTEN_ANNOTATION } from './written-stamp.ts';

function event(type: string, resourceVersion: number, written = 0): string {
  const metadata = {
    name: 'a\u00e9',
    resourceVersion: String(resourceVersion),
    annotations: { [WRITTEN_ANNOTATION]: String(written) },
  };
  return `${JSON.stringify({ type, object: { kind: 'ConfigMap', apiVersion: 'v1', metadata, data: { text: 'x\\n"}' } } })}\n`;
}

function end(resourceVersion: number): string {
  const metadata = { resourceVersion: String(resourceVersion), annotations: { 'k8s.io/initial-events-end': 'true' } };
  return `${JSON.stringify({ type: 'BOOKMARK', object: { kind: 'ConfigMap', apiVersion: 'v1', metadata } })}\n`;
}

function newTotals(): LoadTotals {
  return { counts: emptyCounts(), lag: new LagHistogram() };
}

function streamOf(...lines: string[]): { stream: LoadStream; totals: LoadTotals } {
  const totals = newTotals();
  const stream = new LoadStream(totals);
  stream.read(Buffer.from(lines.join('')), 1_000);
  return { stream, totals };
}

/** MODIFIED frames of objects that were written at the stamps given, one version after the other. */
function protobufEvents(
  kind: 'leases' | 'pods',
  stamps: readonly number[],
): { frames: Buffer[]; firstVersion: number } {
  const store = new SimulatedStore(SIMULATED_RESOURCES, 100, 1_000_000_000);
  const fleet = populateFleets(store, { nodes: 10, podsPerNode: 1, namespaces: 1 })[kind];
  const collection = store.collection(fleet.resource.group, fleet.resource.resource);
  const firstVersion = store.resourceVersion + 1;
  store.writeFleet(collection, fleet, Uint32Array.from(stamps.keys()), Float64Array.from(stamps));
  const frames = stamps.map((_, at) => {
    const event = collection.at(collection.head - stamps.length + at);
    if (event === undefined) throw new TypeError('the window holds what was just written');
    return event.frame('protobuf');
  });
  return { frames, firstVersion };
}

function protobufBookmark(version: number, end: boolean): Buffer {
  return frameBookmark(minimalBookmark('protobuf', 'Lease', 'coordination.k8s.io/v1'), version, end);
}

describe('a load stream', () => {
  test('tells initial events from deliveries, and measures the lag of deliveries only', () => {
    const { stream, totals } = streamOf(
      event('ADDED', 9, 1),
      event('ADDED', 3, 1),
      end(10),
      event('MODIFIED', 11, 900),
      event('DELETED', 12, 990),
    );
    expect(totals.counts).toMatchObject({
      initial: 2,
      ready: 1,
      deliveries: 2,
      bookmarks: 1,
      disordered: 0,
      repeated: 0,
    });
    expect([stream.count, stream.versionSum, totals.lag.count]).toEqual([2, 23, 2]);
    expect(stream.resumeVersion).toBe(12);
  });

  test('sees versions that go backwards, and those that come twice', () => {
    const { totals } = streamOf(end(10), event('MODIFIED', 12), event('MODIFIED', 11), event('MODIFIED', 11));
    expect(totals.counts).toMatchObject({ disordered: 1, repeated: 1 });
  });

  test('a missing event shows in the sum', () => {
    const whole = streamOf(end(1), event('MODIFIED', 2), event('MODIFIED', 3), event('MODIFIED', 4)).stream;
    const holed = streamOf(end(1), event('MODIFIED', 2), event('MODIFIED', 4)).stream;
    expect([whole.count, whole.versionSum]).not.toEqual([holed.count, holed.versionSum]);
  });

  test('reads the same however the bytes are cut', () => {
    const text = Buffer.from(
      [event('ADDED', 1), end(2), event('MODIFIED', 3, 5), event('MODIFIED', 4, 6), end(9)].join(''),
    );
    const { totals: expected } = streamOf(text.toString());
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: text.length })), (cuts) => {
        const totals = { counts: emptyCounts(), lag: new LagHistogram() };
        const stream = new LoadStream(totals);
        const edges = [0, ...cuts.toSorted((a, b) => a - b), text.length];
        edges.slice(1).forEach((edge, index) => stream.read(text.subarray(edges[index], edge), 1_000));
        expect(totals.counts).toEqual(expected.counts);
        expect(totals.lag.toArray()).toEqual(expected.lag.toArray());
      }),
    );
  });

  test('after a 410 it starts over', () => {
    const { stream, totals } = streamOf(end(10), '{"type":"ERROR","object":{"kind":"Status","code":410}}\n');
    expect(totals.counts.errors).toEqual({ 410: 1 });
    expect(stream.resumeVersion).toBe(0);
  });
});

describe('a load stream in protobuf', () => {
  test.each(['leases', 'pods'] as const)('reads the stamps of %s, and their versions', (kind) => {
    const { frames, firstVersion } = protobufEvents(kind, [3_000, 3_900]);
    const totals = newTotals();
    const stream = new LoadStream(totals, 'protobuf');
    stream.read(Buffer.concat([protobufBookmark(firstVersion - 1, true), ...frames]), 4_000);
    expect(totals.counts).toMatchObject({ ready: 1, deliveries: 2, bookmarks: 1, disordered: 0, repeated: 0 });
    expect([stream.count, stream.versionSum, stream.resumeVersion]).toEqual([
      2,
      2 * firstVersion + 1,
      firstVersion + 1,
    ]);
    const expected = new LagHistogram();
    for (const lag of [1_000, 100]) expected.record(lag);
    expect(totals.lag.toArray()).toEqual(expected.toArray());
  });

  test('reads the same however the bytes are cut', () => {
    const { frames, firstVersion } = protobufEvents('leases', [5, 6, 7]);
    const [initial = Buffer.alloc(0), ...live] = frames;
    const bytes = Buffer.concat([
      initial,
      protobufBookmark(firstVersion, true),
      ...live,
      protobufBookmark(firstVersion + 9, false),
    ]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: bytes.length })), (cuts) => {
        const totals = newTotals();
        const stream = new LoadStream(totals, 'protobuf');
        const edges = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
        edges.slice(1).forEach((edge, index) => stream.read(bytes.subarray(edges[index], edge), 1_000));
        expect(totals.counts).toMatchObject({ initial: 1, ready: 1, deliveries: 2, bookmarks: 2, bytes: bytes.length });
        expect([stream.resumeVersion, totals.lag.count]).toEqual([firstVersion + 9, 2]);
      }),
    );
  });

  test('after a 410 it starts over', () => {
    const totals = newTotals();
    const stream = new LoadStream(totals, 'protobuf');
    const error = frameStatusEvent('protobuf', expired('too old resource version'));
    stream.read(Buffer.concat([protobufBookmark(10, true), error]), 1_000);
    expect(totals.counts).toMatchObject({ ready: 0, errors: { 410: 1 } });
    expect(stream.resumeVersion).toBe(0);
  });
});
