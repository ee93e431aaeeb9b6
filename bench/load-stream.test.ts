import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LagHistogram } from './lag-histogram.ts';
import { emptyCounts, LoadStream, type LoadTotals } from './load-stream.ts';
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

function streamOf(...lines: string[]): { stream: LoadStream; totals: LoadTotals } {
  const totals = { counts: emptyCounts(), lag: new LagHistogram() };
  const stream = new LoadStream(totals);
  stream.read(Buffer.from(lines.join('')), 1_000);
  return { stream, totals };
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
