import { describe, expect, test } from 'vitest';
import { parseApiRequest } from '@dogwatch/kube/api-request.ts';
import type { ResourceInfo } from '@dogwatch/upstream/discovery.ts';
import { type Plan, planOf } from './plan.ts';

const POD: ResourceInfo = { kind: 'Pod', namespaced: true, watchable: true, local: true, custom: false };

function plan(
  url: string,
  options: { accept?: string; userAgent?: string; info?: ResourceInfo; method?: string } = {},
): Plan {
  const { accept, userAgent, info = POD, method = 'GET' } = options;
  return planOf(parseApiRequest(method, url), { accept, userAgent }, info);
}

const INITIAL = 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan';

describe('watch', () => {
  test.each([
    // W4, W5: the objects first.
    [`watch=true&${INITIAL}&resourceVersion=`, 'initial', { kind: 'fresh' }],
    [`watch=true&${INITIAL}&resourceVersion=0`, 'initial', { kind: 'any' }],
    [`watch=true&${INITIAL}&resourceVersion=7`, 'initial', { kind: 'not-older-than', rv: 7 }],
    // W2: the server's own default.
    ['watch=true', 'initial', { kind: 'fresh' }],
    ['watch=1&resourceVersion=0', 'initial', { kind: 'any' }],
    // W6: without them.
    ['watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan', 'recent', { kind: 'fresh' }],
    [
      'watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion=0',
      'recent',
      { kind: 'any' },
    ],
    // W7
    ['watch=true&resourceVersion=7', 'resume', { kind: 'not-older-than', rv: 7 }],
    ['watch=true&resourceVersion=007', 'resume', { kind: 'not-older-than', rv: 7 }],
  ])('?%s starts %s', (query, start, freshness) => {
    expect(plan(`/api/v1/pods?${query}`)).toMatchObject({ kind: 'watch', start, freshness });
  });

  test('W2, W4: the end bookmark comes where bookmarks were asked for', () => {
    expect(plan('/api/v1/pods?watch=true')).toMatchObject({ endBookmark: false, allowBookmarks: false });
    expect(plan('/api/v1/pods?watch=true&allowWatchBookmarks=true')).toMatchObject({ endBookmark: true });
    expect(plan('/api/v1/pods?watch=true&allowWatchBookmarks=1&resourceVersion=7')).toMatchObject({
      allowBookmarks: true,
      endBookmark: false,
    });
  });

  test('W3: under the deprecated prefix any state will do, and there is no end bookmark', () => {
    expect(plan('/api/v1/watch/namespaces/default/pods?allowWatchBookmarks=true')).toMatchObject({
      kind: 'watch',
      start: 'initial',
      freshness: { kind: 'any' },
      endBookmark: false,
    });
    expect(plan('/api/v1/watch/namespaces/default/pods/a')).toMatchObject({ interest: { name: 'a' } });
  });

  test('the scope and the selectors are the interest', () => {
    const found = plan('/api/v1/namespaces/a/pods?watch=true&labelSelector=app%3Dweb&fieldSelector=metadata.name%3Dx');
    expect(found).toMatchObject({ interest: { namespace: 'a', name: 'x' } });
    expect('interest' in found && found.interest.selectsWholeScope).toBe(false);
  });

  test('W12: the time asked for is kept, and a negative one is for upstream to judge', () => {
    expect(plan('/api/v1/pods?watch=true&timeoutSeconds=9')).toMatchObject({ timeoutSeconds: 9 });
    expect(plan('/api/v1/pods?watch=true&timeoutSeconds=-1').kind).toBe('forward');
  });
});

describe('list and get', () => {
  const range = (query: string, options: Parameters<typeof plan>[1] = {}, path = '/api/v1/pods') => {
    const found = plan(`${path}?${query}`, options);
    return found.kind === 'list' ? found.range : found.kind;
  };
  const all = { start: undefined, limit: Number.POSITIVE_INFINITY };
  const EVENTS = '/api/v1/events';
  const token = (text: string): string => Buffer.from(text).toString('base64url');
  const NEXT = token('{"v":"meta.k8s.io/v1","rv":7,"start":"/a/x\\u0000"}');
  const LATEST = token('{"v":"meta.k8s.io/v1","rv":-1,"start":"a/x\\u0000"}');

  test('L1: the newest state, whole or its first page', () => {
    expect(range('')).toEqual({ state: { kind: 'fresh' }, ...all });
    expect(range('limit=5')).toEqual({ state: { kind: 'fresh' }, start: undefined, limit: 5 });
    expect(range('limit=-5')).toEqual({ state: { kind: 'fresh' }, ...all });
  });

  test('L2: "0" is served from what is held, whatever the limit', () => {
    expect(range('resourceVersion=0&limit=5')).toEqual({ state: { kind: 'any' }, ...all });
  });

  test('L3: not older than a version; a limit counts where that is said', () => {
    const state = { kind: 'not-older-than', rv: 7 };
    expect(range('resourceVersion=7')).toEqual({ state, ...all });
    expect(range('resourceVersion=7&resourceVersionMatch=NotOlderThan')).toEqual({ state, ...all });
    expect(range('resourceVersion=7&resourceVersionMatch=NotOlderThan&limit=5')).toEqual({ state, ...all, limit: 5 });
  });

  test('L4, L5: a version', () => {
    const state = { kind: 'exact', rv: 7 };
    expect(range('resourceVersion=7&limit=5')).toEqual({ state, ...all, limit: 5 });
    expect(range('resourceVersion=7&resourceVersionMatch=Exact')).toEqual({ state, ...all });
  });

  test('L12, L13: the page behind a token', () => {
    expect(range(`limit=5&continue=${NEXT}`)).toEqual({ state: { kind: 'exact', rv: 7 }, start: 'a/x\0', limit: 5 });
    expect(range(`continue=${LATEST}`)).toEqual({ state: { kind: 'fresh' }, start: 'a/x\0', limit: Infinity });
  });

  test('L17: of one key upstream reads versions from its store', () => {
    const one = 'fieldSelector=metadata.name%3Dx';
    const path = '/api/v1/namespaces/a/pods';
    expect(range(`${one}&limit=5`, {}, path)).toMatchObject({ state: { kind: 'fresh' }, limit: 5 });
    expect(range(`${one}&resourceVersion=7&limit=5`, {}, path)).toBe('forward');
    expect(range(`${one}&resourceVersion=7&resourceVersionMatch=Exact`, {}, path)).toBe('forward');
    expect(range(`${one}&resourceVersion=7&limit=5`)).toMatchObject({ state: { kind: 'exact' } });
    expect(range(`${one}&resourceVersion=7&limit=5`, { info: { ...POD, namespaced: false } })).toBe('forward');
  });

  test('Events have no cache upstream: what it reads of them is always the newest state', () => {
    expect(range('resourceVersion=0', {}, EVENTS)).toEqual({ state: { kind: 'any' }, ...all });
    expect(range('resourceVersion=0&limit=5', {}, EVENTS)).toMatchObject({ state: { kind: 'fresh' }, limit: 5 });
    expect(range('resourceVersion=7', {}, EVENTS)).toMatchObject({ state: { kind: 'not-older-than' } });
    expect(range('resourceVersion=7&resourceVersionMatch=NotOlderThan&limit=5', {}, EVENTS)).toBe('forward');
  });

  test('pages that follow from what only upstream has are its own', () => {
    expect(range('fieldSelector=metadata.namespace%3Da&limit=5')).toBe('forward');
    expect(range(`fieldSelector=metadata.namespace%3Da&continue=${NEXT}`)).toBe('forward');
    expect(range('fieldSelector=metadata.namespace%3Da')).toMatchObject(all);
    expect(range('fieldSelector=metadata.namespace%3Da&limit=5', {}, '/api/v1/namespaces/a/pods')).toMatchObject({
      limit: 5,
    });
    expect(range('fieldSelector=spec.host%3Dn1&limit=5')).toBe('forward');
    // Beyond the first of the newest state, upstream's say more than its index (L14).
    const node = 'fieldSelector=spec.nodeName%3Dn1';
    expect(range(`${node}&limit=5`)).toMatchObject({ limit: 5 });
    expect(range(`${node}&limit=5&resourceVersion=7`)).toBe('forward');
    expect(range(`${node}&limit=5&continue=${NEXT}`)).toBe('forward');
    expect(range(`${node}&continue=${NEXT}`)).toMatchObject({ state: { kind: 'exact' } });
    const one = 'fieldSelector=metadata.name%3Dx';
    expect(range(`${one}&limit=5&continue=${NEXT}`, {}, '/api/v1/namespaces/a/pods')).toBe('forward');
    const slices = '/apis/resource.k8s.io/v1/resourceslices';
    expect(range('fieldSelector=spec.nodeName%3Dn1&limit=5', { info: { ...POD, namespaced: false } }, slices)).toBe(
      'forward',
    );
  });

  test('L22: an answer may take as long as its request says, and a minute at most', () => {
    expect(plan('/api/v1/pods')).toMatchObject({ timeoutSeconds: 60 });
    expect(plan('/api/v1/pods?timeout=500ms')).toMatchObject({ timeoutSeconds: 0.5 });
    expect(plan('/api/v1/pods?timeout=0s')).toMatchObject({ timeoutSeconds: 60 });
    expect(plan('/api/v1/pods?timeoutSeconds=1')).toMatchObject({ timeoutSeconds: 60 });
  });

  test('O2, O3: a GET of one object', () => {
    expect(plan('/api/v1/namespaces/a/pods/x?resourceVersion=0')).toMatchObject({
      kind: 'get',
      freshness: { kind: 'any' },
      interest: { namespace: 'a', name: 'x', keyPrefix: 'a/' },
    });
    expect(plan('/api/v1/namespaces/a/pods/x?resourceVersion=7')).toMatchObject({ freshness: { rv: 7 } });
  });

  test('a namespace is an object of the cluster', () => {
    const info = { ...POD, kind: 'Namespace', namespaced: false };
    expect(plan('/api/v1/namespaces/a?resourceVersion=0', { info })).toMatchObject({
      kind: 'get',
      interest: { namespace: '', name: 'a', keyPrefix: '' },
    });
  });
});

describe('encodings', () => {
  test('each encoding and view is a lane of its own', () => {
    expect(plan('/api/v1/pods?watch=1')).toMatchObject({ lane: { encoding: 'json', view: 'object' } });
    const accept = 'application/vnd.kubernetes.protobuf, application/json';
    expect(plan('/api/v1/pods?watch=1', { accept })).toMatchObject({
      lane: { encoding: 'protobuf' },
      contentType: 'application/vnd.kubernetes.protobuf;stream=watch',
    });
    const partial = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
    expect(plan('/api/v1/pods?watch=1', { accept: partial })).toMatchObject({ lane: { view: 'metadata' } });
  });

  test.each([
    ['a table (N2)', 'application/json;as=Table;g=meta.k8s.io;v=v1'],
    ['YAML (F3)', 'application/yaml'],
    ['what nobody serves (N1)', 'text/html'],
    ['the metadata of a list in a watch (N3)', 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1'],
  ])('%s is upstream’s', (_, accept) => {
    expect(plan('/api/v1/pods?watch=1', { accept }).kind).toBe('forward');
  });

  test('N4: JSON is indented for whom asks or is a person, but never in a watch', () => {
    const metadata = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
    expect(plan('/api/v1/pods?resourceVersion=0')).toMatchObject({ pretty: false });
    expect(plan('/api/v1/pods?resourceVersion=0', { userAgent: 'curl/8' })).toMatchObject({ pretty: true });
    expect(plan('/api/v1/pods?pretty=1', { accept: metadata })).toMatchObject({ pretty: true });
    expect(plan('/api/v1/pods?pretty=0', { userAgent: 'curl/8' })).toMatchObject({ pretty: false });
    expect(plan('/api/v1/pods', { accept: 'application/json;pretty=1' })).toMatchObject({ pretty: true });
    const protobuf = { accept: 'application/vnd.kubernetes.protobuf', userAgent: 'curl/8' };
    expect(plan('/api/v1/pods', protobuf)).toMatchObject({ pretty: false });
    expect(plan('/api/v1/namespaces/a/pods/x?resourceVersion=0&pretty=1')).toMatchObject({ kind: 'get', pretty: true });
    expect(plan('/api/v1/pods?watch=1', { userAgent: 'curl/8' }).kind).toBe('watch');
  });

  test('a part, by its shards, is an interest of its own; what is no selector of them is for upstream', () => {
    const shards = "shardRange(object.metadata.uid, '0x0000000000000000', '0x8000000000000000')";
    expect(plan(`/api/v1/pods?shardSelector=${encodeURIComponent(shards)}`)).toMatchObject({
      kind: 'list',
      interest: { shards: {} },
    });
    expect(plan('/api/v1/pods?shardSelector=x').kind).toBe('forward');
  });
});

describe('everything else is upstream’s', () => {
  test.each([
    // Tokens that are none, or with a version (L7, L8); consistent GETs (O1).
    '/api/v1/pods?continue=x',
    '/api/v1/pods?continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhXHUwMDAwIn0&resourceVersion=0',
    '/api/v1/pods?continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhXHUwMDAwIn0&resourceVersion=7',
    '/api/v1/namespaces/a/pods/x',
    // What upstream refuses, in its own words (G1, G3, L6, L7, L9, L18, L22, O4, W1, W3).
    '/api/v1/pods?watch=true&sendInitialEvents=true',
    '/api/v1/pods?watch=true&resourceVersionMatch=NotOlderThan',
    '/api/v1/pods?resourceVersion=0&sendInitialEvents=true',
    '/api/v1/pods?resourceVersion=0&resourceVersionMatch=Exact',
    '/api/v1/pods?resourceVersion=0&continue=x&resourceVersionMatch=NotOlderThan',
    '/api/v1/pods?watch=true&resourceVersion=abc',
    '/api/v1/pods?watch=true&resourceVersion=-1',
    '/api/v1/pods?watch=true&resourceVersion=00',
    '/api/v1/pods?watch=true&resourceVersion=9007199254740993',
    '/api/v1/pods?watch=true&labelSelector=%3D',
    '/api/v1/pods?watch=true&fieldSelector=x',
    '/api/v1/pods?watch=true&limit=x',
    '/api/v1/pods?resourceVersion=0&timeout=x',
    '/api/v1/namespaces/a/pods/x?export=true&resourceVersion=0',
    '/api/v1/watch/namespaces/a/pods/x?fieldSelector=metadata.name%3Dy',
    '/api/v1/watch/pods?sendInitialEvents=true',
    // What different readers would read differently.
    '/api/v1/pods?watch=true&resourceVersion=1&resourceVersion=2',
    '/api/v1/namespaces/a%2F..%2Fb/pods?watch=true',
    '/api/v1/namespaces/a/pods/x?watch=true&resourceVersion=0',
    // Not a resource, or not the whole of one.
    '/healthz',
    '/api/v1/namespaces/a/pods/x/status?resourceVersion=0',
    '/api/v1/pods?watch=true&shardSelector=x',
  ])('%s', (url) => {
    expect(plan(url).kind).toBe('forward');
  });

  test('other methods', () => {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'HEAD']) {
      expect(plan('/api/v1/namespaces/a/pods/x?resourceVersion=0', { method }).kind).toBe('forward');
    }
  });

  test('resources that cannot be watched, are unknown, or are served by an aggregated API', () => {
    for (const info of [
      { ...POD, watchable: false },
      { ...POD, local: false },
    ]) {
      expect(plan('/api/v1/pods?watch=true', { info }).kind).toBe('forward');
    }
    expect(
      planOf(parseApiRequest('GET', '/api/v1/x?watch=1'), { accept: undefined, userAgent: undefined }, undefined).kind,
    ).toBe('forward');
  });

  test('a scope that the resource does not have (CVE-2019-11247)', () => {
    const info = { ...POD, namespaced: false };
    expect(plan('/api/v1/namespaces/a/nodes?watch=true', { info }).kind).toBe('forward');
    expect(plan('/api/v1/pods/x?resourceVersion=0').kind).toBe('forward');
    expect(plan('/api/v1/watch/pods/x').kind).toBe('forward');
    expect(plan('/api/v1/watch/namespaces/a/pods/x').kind).toBe('watch');
    expect(plan('/api/v1/pods?watch=true&resourceVersion=5&fieldSelector=metadata.name%3Dx').kind).toBe('watch');
  });
});
