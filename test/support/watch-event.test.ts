import { expect, test } from 'vitest';
import { parseWatchEvent } from './watch-event.ts';

test('an object event', () => {
  const metadata = { name: 'a', namespace: 'ns', uid: 'u', resourceVersion: '7', labels: { x: 'y' } };
  expect(parseWatchEvent(JSON.stringify({ type: 'ADDED', object: { metadata } }))).toEqual({
    type: 'ADDED',
    key: 'ns/a',
    uid: 'u',
    rv: 7,
    labels: { x: 'y' },
  });
});

test('bookmarks, plain and at the end of the initial events', () => {
  const line = (annotations?: object): string =>
    JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: '9', annotations } } });
  expect(parseWatchEvent(line())).toEqual({ type: 'BOOKMARK', rv: 9, initialEventsEnd: false });
  expect(parseWatchEvent(line({ 'k8s.io/initial-events-end': 'true' }))).toEqual({
    type: 'BOOKMARK',
    rv: 9,
    initialEventsEnd: true,
  });
});

test('an in-stream error', () => {
  const line = '{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old resource version: 1 (5)"}}';
  expect(parseWatchEvent(line)).toEqual({ type: 'ERROR', code: 410, message: 'too old resource version: 1 (5)' });
});

test.each([
  '{"type":"ADDED","object":{"metadata":{}}}',
  '{"type":"GONE","object":{"metadata":{"resourceVersion":"1"}}}',
  '{',
])('refuses %s', (line) => {
  expect(() => parseWatchEvent(line)).toThrow(/JSON|watch event/);
});

test('equal lines share one event', () => {
  const line = '{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"12"}}}';
  expect(parseWatchEvent(line)).toBe(parseWatchEvent(`${line}`));
});
