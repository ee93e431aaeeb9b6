import { describe, expect, test } from 'vitest';
import { longestSilence, percentile } from './cluster-delivery-gap.ts';
import { RecordedStream } from './watch-recorder.ts';

function streamAt(...times: number[]): RecordedStream {
  const stream = new RecordedStream(0, { path: '/api/v1/configmaps', resourceVersion: 1 });
  for (const time of times) {
    stream.record({ type: 'MODIFIED', key: 'a/b', uid: 'u', rv: time, labels: {} }, time);
  }
  return stream;
}

describe('the longest silence', () => {
  test('counts from the last event before the interval', () => {
    expect(longestSilence(streamAt(0, 90, 300, 310), 100, 400)).toBe(210);
  });

  test('counts up to the end of the interval if nothing came', () => {
    expect(longestSilence(streamAt(0, 90), 100, 400)).toBe(310);
  });

  test('of an event after the interval counts until the end only', () => {
    expect(longestSilence(streamAt(0, 90, 900), 100, 400)).toBe(310);
  });

  test('does not take a bookmark for a delivery', () => {
    const stream = streamAt(0, 90);
    stream.record({ type: 'BOOKMARK', rv: 200, initialEventsEnd: false }, 200);
    stream.record({ type: 'MODIFIED', key: 'a/b', uid: 'u', rv: 390, labels: {} }, 390);
    expect(longestSilence(stream, 100, 400)).toBe(300);
  });
});

test('99 of 100 are at or below the 99th percentile', () => {
  const values = Array.from({ length: 100 }, (_, index) => index + 1);
  expect(percentile(values, 99)).toBe(99);
  expect(percentile([5], 99)).toBe(5);
});
