import { parseApiRequest } from '@dogwatch/kube/api-request.ts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { generate } from './generator.ts';
import { generateLive } from './live-requests.ts';
import { servedResource, testWorld } from './test-world.ts';

const anySeed = fc.nat(0xffff_ffff);
const anyIndex = fc.nat(4_000_000);

test('a number of a seed is always the same request', () => {
  fc.assert(
    fc.property(anySeed, anyIndex, (seed, index) => {
      expect(generate(seed, index, testWorld())).toEqual(generate(seed, index, testWorld()));
    }),
  );
});

test('the version of the cluster changes values in a request, and nothing else', () => {
  fc.assert(
    fc.property(anySeed, anyIndex, (seed, index) => {
      const [before, after] = [100, 200].map((version) => generate(seed, index, testWorld({ version })));
      const names = (path = ''): string[] => [...path.matchAll(/[?&]([^=&]*)/g)].map(([, name]) => name ?? '');
      expect(names(after?.path)).toEqual(names(before?.path));
      expect(after?.headers).toEqual(before?.headers);
    }),
  );
});

test('without leave to write, nothing that could write is sent', () => {
  fc.assert(
    fc.property(anySeed, anyIndex, (seed, index) => {
      expect(['GET', 'HEAD', 'OPTIONS', 'NONSENSE']).toContain(generate(seed, index, testWorld()).method);
    }),
    { numRuns: 2_000 },
  );
});

test('with it, every write is a dry run', () => {
  fc.assert(
    fc.property(anySeed, anyIndex, (seed, index) => {
      const { method, path } = generate(seed, index, testWorld({ write: true }));
      const writes = ['POST', 'PUT', 'PATCH', 'DELETE'].includes(method);
      expect(!writes || /[?&]dryRun=/.test(path)).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});

test('over HTTP/2 go only paths that it can carry', () => {
  fc.assert(
    fc.property(anySeed, anyIndex, (seed, index) => {
      const { path, protocol } = generate(seed, index, testWorld());
      expect(protocol === 'h1' || /^[\x21-\x7e]+$/.test(path)).toBe(true);
    }),
    { numRuns: 1_000 },
  );
});

test('a run has every kind: lists, watches, gets, both protocols, most of them well formed', () => {
  const requests = Array.from({ length: 2_000 }, (_, index) => generate(1, index, testWorld()));
  const share = (holds: (request: (typeof requests)[number]) => boolean): number =>
    requests.filter(holds).length / requests.length;
  for (const verb of ['list', 'watch', 'get']) {
    expect(share(({ method, path }) => parseApiRequest(method, path).verb === verb)).toBeGreaterThan(0.1);
  }
  expect(share(({ stream }) => stream)).toBeGreaterThan(0.25);
  expect(share(({ protocol }) => protocol === 'h2')).toBeGreaterThan(0.4);
  expect(share(({ method, path }) => parseApiRequest(method, path).cacheable)).toBeGreaterThan(0.7);
});

test('live watches look only at what is made for them', () => {
  fc.assert(
    fc.property(anySeed, anyIndex, fc.boolean(), (seed, index, late) => {
      const resources = [servedResource('configmaps'), servedResource('nodes', { namespaced: false })];
      const { path } = generateLive(seed, index, { namespace: 'verify-1', resources, version: 9, late });
      expect(decodeURIComponent(path)).toMatch(/\/namespaces\/verify-1\/|labelSelector=dogwatch-verify=verify-1/);
      expect(!late || path.includes('resourceVersion=9')).toBe(true);
    }),
  );
});
