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
  test('L2: "0" is served from what is held, whatever the limit', () => {
    expect(plan('/api/v1/pods?resourceVersion=0&limit=5')).toMatchObject({ kind: 'list', freshness: { kind: 'any' } });
  });

  test('L3: not older than a version', () => {
    expect(plan('/api/v1/pods?resourceVersion=7')).toMatchObject({ freshness: { kind: 'not-older-than', rv: 7 } });
    expect(plan('/api/v1/pods?resourceVersion=7&resourceVersionMatch=NotOlderThan').kind).toBe('list');
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

  test('N4: what is to be indented is upstream’s, but for watches', () => {
    expect(plan('/api/v1/pods?resourceVersion=0', { userAgent: 'curl/8' }).kind).toBe('forward');
    expect(plan('/api/v1/pods?watch=1', { userAgent: 'curl/8' }).kind).toBe('watch');
    expect(plan('/api/v1/pods?resourceVersion=0&pretty=1').kind).toBe('forward');
  });
});

describe('everything else is upstream’s', () => {
  test.each([
    // Consistent, exact and paged lists; consistent GETs (L1, L4, L5, L8, O1).
    '/api/v1/pods',
    '/api/v1/pods?resourceVersion=7&limit=5',
    '/api/v1/pods?resourceVersion=7&resourceVersionMatch=Exact',
    '/api/v1/pods?resourceVersion=7&resourceVersionMatch=NotOlderThan&limit=5',
    '/api/v1/pods?continue=x',
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
  });
});
