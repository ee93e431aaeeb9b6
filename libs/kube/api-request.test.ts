import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseApiRequest } from './api-request.ts';

/** A random request, and what k8s.io/apiserver's RequestInfo says of it. Absent: "" or false. */
interface Recorded {
  readonly method: string;
  readonly url: string;
  /** Upstream answers 500. */
  readonly failed?: true;
}

const recorded = readFileSync(new URL('testdata/upstream-requests.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Recorded);

describe('requests recorded from upstream', () => {
  test.each(recorded.filter(({ failed }) => failed !== true))('$method $url', ({ method, url, ...wanted }) => {
    expect(parseApiRequest(method, url)).toMatchObject({
      isResourceRequest: false,
      verb: '',
      apiPrefix: '',
      group: '',
      version: '',
      namespace: '',
      resource: '',
      subresource: '',
      name: '',
      fieldSelector: '',
      labelSelector: '',
      ...wanted,
    });
  });

  test.each(recorded.filter(({ failed }) => failed === true))(
    '$method $url is upstream to refuse',
    ({ method, url }) => {
      expect(parseApiRequest(method, url)).toMatchObject({ cacheable: false, ambiguous: expect.any(String) as string });
    },
  );
});

describe('a request that can be answered here', () => {
  test.each([
    ['/api/v1/pods', { verb: 'list', resource: 'pods', namespace: '' }],
    ['/api/v1/namespaces/ns/pods?watch=1', { verb: 'watch', resource: 'pods', namespace: 'ns' }],
    ['/api/v1/namespaces/ns/pods/p', { verb: 'get', namespace: 'ns', name: 'p' }],
    ['/api/v1/namespaces/n%73/pods', { verb: 'list', namespace: 'ns' }],
    ['/api/v1/namespaces', { verb: 'list', resource: 'namespaces', namespace: '', name: '' }],
    ['/api/v1/namespaces/ns', { verb: 'get', resource: 'namespaces', namespace: 'ns', name: 'ns' }],
    ['/apis/apps/v1/deployments?fieldSelector=metadata.name%3Dd', { verb: 'list', group: 'apps', name: 'd' }],
    ['/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node', { verb: 'get', name: 'system:node' }],
    ['/api/v1/watch/namespaces/ns/pods/p', { verb: 'watch', name: 'p', legacyWatchPrefix: true, fieldSelector: '' }],
    // Unlike what its documentation suggests, upstream answers a GET with a name as a GET (measured on 1.37.2).
    ['/api/v1/namespaces/ns/pods/p?watch=1', { verb: 'get', name: 'p', legacyWatchPrefix: false }],
  ])('GET %s', (url, wanted) => {
    expect(parseApiRequest('GET', url)).toMatchObject({ ...wanted, cacheable: true, ambiguous: undefined });
  });
});

describe('a request that is none of a get, list or watch of a resource', () => {
  test.each([
    ['GET', '/'],
    ['GET', '/healthz'],
    ['GET', '/api/v1'],
    ['GET', '/apis/apps/v1'],
    ['HEAD', '/api/v1/pods'],
    ['get', '/api/v1/pods'],
    ['POST', '/api/v1/namespaces/ns/pods'],
    ['DELETE', '/api/v1/namespaces/ns/pods'],
    ['GET', '/api/v1/namespaces/ns/pods/p/log'],
    ['GET', '/api/v1/namespaces/ns/status'],
    ['GET', '/api/v1/proxy/namespaces/ns/pods/p'],
  ])('%s %s is unambiguous, but not answered here', (method, url) => {
    expect(parseApiRequest(method, url)).toMatchObject({ ambiguous: undefined, cacheable: false });
  });
});

describe('a request that could be read in two ways', () => {
  test.each([
    ['/api/v1/namespaces/a%2Fpods', 'an encoded slash'],
    ['/api/v1/namespaces/a%2fpods', 'an encoded slash'],
    ['/api/v1/namespaces/a/../b/pods', 'a relative path segment'],
    ['/api/v1/namespaces/%2e%2e/pods', 'a relative path segment'],
    ['/api/v1/./pods', 'a relative path segment'],
    ['/api/v1//pods', 'an empty path segment'],
    ['//api/v1/pods', 'an empty path segment'],
    ['/api/v1/pods/', 'an empty path segment'],
    ['/api/v1/namespaces//pods', 'an empty path segment'],
    ['/api/v1/namespaces/a%25/pods', 'an unusual character in a path segment'],
    ['/api/v1/namespaces/a%20b/pods', 'an unusual character in a path segment'],
    ['/api/v1/namespaces/a%00/pods', 'an unusual character in a path segment'],
    ['/api/v1/namespaces/a\\b/pods', 'an unusual character in a path segment'],
    ['/api/v1/namespaces/é/pods', 'an unusual character in a path segment'],
    ['/api/v1/pods#x', 'an unusual character in a path segment'],
    ['/api/v1/namespaces/a%zz/pods', 'a percent sign in the path that does not begin an encoded UTF-8 character'],
    ['/api/v1/namespaces/a%ff/pods', 'a percent sign in the path that does not begin an encoded UTF-8 character'],
    ['http://host/api/v1/pods', 'a path that does not begin with a slash'],
    ['*', 'a path that does not begin with a slash'],
    ['/api/v1/watch', 'a special verb without a resource'],
    ['/api/v1/namespaces/a/namespaces', 'namespaces inside a namespace'],
    ['/api/v1/namespaces/a/namespaces/b', 'namespaces inside a namespace'],
    ['/api/v1/namespaces/a/namespaces/a', 'namespaces inside a namespace'],
    ['/api/v1/watch/namespaces/a/namespaces?watch=1', 'namespaces inside a namespace'],
    ['/api/v1/pods?watch=0&watch=1', 'watch more than once in the query'],
    ['/api/v1/pods?watch=0&%77atch=1', 'watch more than once in the query'],
    ['/api/v1/pods?fieldSelector=a%3Db&fieldSelector=', 'fieldSelector more than once in the query'],
    ['/api/v1/pods?labelSelector&labelSelector', 'labelSelector more than once in the query'],
    ['/api/v1/pods?resourceVersion=1&resourceVersion=0', 'resourceVersion more than once in the query'],
    ['/api/v1/pods?limit=5;watch=1', 'a semicolon in the query'],
    ['/api/v1/pods?limit=%zz', 'a percent sign in the query that does not begin an encoded UTF-8 character'],
  ])('%s is forwarded', (url, ambiguous) => {
    expect(parseApiRequest('GET', url)).toMatchObject({ ambiguous, cacheable: false });
  });
});

const name = fc
  .stringMatching(/^[A-Za-z0-9\-._~:@!$&'()*+,;=]{1,8}$/)
  .filter((text) => !['.', '..', 'status', 'finalize'].includes(text));

/** Each character as it is, or percent-encoded in either case. */
const encodings = fc.array(fc.constantFrom('plain', 'upper', 'lower'), { minLength: 8, maxLength: 8 });
function encode(text: string, how: readonly string[]): string {
  return Array.from(text)
    .map((character, index) => {
      const hex = (character.codePointAt(0) ?? 0).toString(16).padStart(2, '0');
      return how[index] === 'plain' ? character : `%${how[index] === 'upper' ? hex.toUpperCase() : hex}`;
    })
    .join('');
}

test('a namespace is the one that was named, however it is encoded, and no other', () => {
  fc.assert(
    fc.property(name, name, encodings, encodings, (a, b, howA, howB) => {
      const left = parseApiRequest('GET', `/api/v1/namespaces/${encode(a, howA)}/pods`);
      const right = parseApiRequest('GET', `/api/v1/namespaces/${encode(b, howB)}/pods`);
      expect(left.namespace).toBe(a);
      expect(left.namespace === right.namespace).toBe(a === b);
      expect(left.cacheable).toBe(true);
    }),
  );
});

test('a random request line is parsed, and cacheable only if its parts rebuild its path', () => {
  const piece = fc.constantFrom(
    'api',
    'apis',
    'v1',
    'namespaces',
    'watch',
    'proxy',
    'pods',
    '..',
    '.',
    '',
    '%2f',
    '%2e',
    'a%',
    'é',
    'x;y',
  );
  const query = fc.constantFrom(
    '',
    '?',
    '?watch=1',
    '?watch=1&watch=1',
    '?%',
    '?fieldSelector=metadata.name%3D..',
    '??',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), query, (pieces, suffix) => {
      const request = parseApiRequest('GET', `/${pieces.join('/')}${suffix}`);
      if (!request.cacheable) return;
      expect(
        request.path
          .split('/')
          .slice(1)
          .every((segment) => segment !== '' && !/^\.\.?$/.test(segment)),
      ).toBe(true);
      const { apiPrefix, group, version, namespace, resource, name: object, legacyWatchPrefix } = request;
      const scope = namespace === '' || resource === 'namespaces' ? [] : ['namespaces', namespace];
      const parts = [apiPrefix, group, version, legacyWatchPrefix ? 'watch' : '', ...scope, resource, object];
      expect(`/${parts.filter((part) => part !== '').join('/')}`).toBe(request.path);
    }),
    { numRuns: 1000 },
  );
});
