import { describe, expect, test } from 'vitest';
import type { Answer } from './answer.ts';
import { compare, type Comparison } from './compare.ts';
import type { VerifyRequest } from './request.ts';
import { testAnswer, testRequest } from './test-world.ts';

const LIST = testRequest('/api/v1/pods');
const WATCH = testRequest('/api/v1/pods?watch=true', { stream: true });
const list = (version: number): string =>
  `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"${version}"},"items":[]}\n`;
const event = (type: string, object: string): string => `{"type":"${type}","object":${object}}\n`;
const pod = (name: string, version: number): string =>
  `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"${name}","resourceVersion":"${version}"}}`;
const bookmark = (version: number, end = false): string =>
  event(
    'BOOKMARK',
    `{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"${version}"${end ? ',"annotations":{"k8s.io/initial-events-end":"true"}' : ''}}}`,
  );
const watched = (...frames: string[]): Answer => testAnswer('', { frames: frames.map((text) => Buffer.from(text)) });

function compared(request: VerifyRequest, upstream: Answer, dogwatch: Answer, sharded = true): Comparison {
  return compare({ request, upstream, dogwatch }, { version: 50, sharded });
}

/** The part that differs, and what was forgiven. */
function outcome({ difference, wanted }: Comparison): [string | undefined, string[]] {
  return [difference?.part, [...wanted]];
}

describe('answers', () => {
  test('that are the same need no forgiveness', () => {
    expect(outcome(compared(LIST, testAnswer(list(9)), testAnswer(list(9))))).toEqual([undefined, []]);
  });

  test.each<[string, Partial<Answer>]>([
    ['status', { status: 404 }],
    ['header content-type', { headers: { 'content-type': 'application/yaml', 'audit-id': 'x' } }],
    ['header warning', { headers: { 'content-type': 'application/json', 'audit-id': 'x', warning: '299 - "w"' } }],
    ['header audit-id', { headers: { 'content-type': 'application/json' } }],
    ['body', { body: Buffer.from(list(9).replace('[]', '[{}]')) }],
    ['connection', { status: 0, end: 'broken', problem: 'ECONNRESET' }],
    ['end', { end: 'cut' }],
  ])('differ in %s', (part, changes) => {
    expect(outcome(compared(LIST, testAnswer(list(9)), testAnswer(list(9), changes)))).toEqual([part, []]);
  });

  test('may have an audit id of their own', () => {
    const headers = { 'content-type': 'application/json', 'audit-id': 'another', date: 'now' };
    expect(outcome(compared(LIST, testAnswer(list(9)), testAnswer(list(9), { headers })))).toEqual([undefined, []]);
  });
});

describe('a list may be of another version', () => {
  test.each([
    ['/api/v1/pods', true],
    ['/api/v1/pods?resourceVersion=0', true],
    ['/api/v1/pods?resourceVersion=9', true],
    ['/api/v1/pods?resourceVersion=9&resourceVersionMatch=NotOlderThan&limit=1', true],
    ['/api/v1/pods?resourceVersion=9&resourceVersionMatch=Exact', false],
    ['/api/v1/pods?resourceVersion=9&limit=1', false],
    ['/api/v1/pods?continue=abc', false],
    ['/api/v1/pods?resourceVersion=11', false],
  ])('%s: %s', (path, may) => {
    const found = outcome(compared(testRequest(path), testAnswer(list(10)), testAnswer(list(12))));
    expect(found[0]).toBe(may ? undefined : 'body');
  });

  test('but never of one that is yet to come', () => {
    expect(outcome(compared(LIST, testAnswer(list(10)), testAnswer(list(51))))[0]).toBe('body');
  });
});

describe('watches', () => {
  test('bring the same events in the same order', () => {
    const [a, b] = [event('ADDED', pod('a', 1)), event('ADDED', pod('b', 2))];
    expect(outcome(compared(WATCH, watched(a, b), watched(a, b)))).toEqual([undefined, []]);
    expect(outcome(compared(WATCH, watched(a, b), watched(b, a)))[0]).toBe('event 0');
    expect(outcome(compared(WATCH, watched(a, b), watched(a)))[0]).toBe('event 1');
    expect(outcome(compared(WATCH, watched(a), watched(a, a)))[0]).toBe('event 1');
  });

  test('may have bookmarks of their own, but for the one that ends the initial events', () => {
    const added = event('ADDED', pod('a', 1));
    const passing = compared(WATCH, watched(added, bookmark(9)), watched(bookmark(3), added));
    expect(outcome(passing)).toEqual([undefined, ['bookmarks']]);
    const ends = compared(WATCH, watched(added, bookmark(9, true)), watched(added, bookmark(12, true)));
    expect(outcome(ends)).toEqual([undefined, ['end bookmark version']]);
    expect(outcome(compared(WATCH, watched(added, bookmark(9, true)), watched(added)))[0]).toBe('event 1');
  });

  test('may go on where kube-apiserver cannot, and not the other way round', () => {
    const tooOld = watched(event('ERROR', '{"kind":"Status","message":"too old resource version: 1 (9)","code":410}'));
    const events = watched(event('ADDED', pod('a', 1)));
    expect(outcome(compared(WATCH, tooOld, events))).toEqual([undefined, ['longer history']]);
    expect(outcome(compared(WATCH, events, tooOld))[0]).toBe('event 0');
    const older = watched(event('ERROR', '{"kind":"Status","message":"too old resource version: 1 (4)","code":410}'));
    expect(outcome(compared(WATCH, tooOld, older))).toEqual([undefined, ['oldest version in text']]);
  });
});

test('shards are not compared where kube-apiserver has none', () => {
  const request = testRequest('/api/v1/pods?shardSelector=x');
  const less = testAnswer(list(9).replace('"9"', '"9","shardInfo":{}'));
  expect(outcome(compared(request, testAnswer(list(9)), less, false))).toEqual([undefined, ['shards']]);
  expect(outcome(compared(request, testAnswer(list(9)), less, true))[0]).toBe('body');
});

test('what no client sends may be refused', () => {
  const refusal = testAnswer('', { status: 400 });
  const odd = testRequest('/api/v1/pods/\u00e9');
  expect(outcome(compared(odd, testAnswer(list(9)), refusal))).toEqual([undefined, ['request line']]);
  expect(outcome(compared(LIST, testAnswer(list(9)), refusal))[0]).toBe('status');
});
