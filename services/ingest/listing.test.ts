import { expect, test } from 'vitest';
import { pod } from '@dogwatch/watch/test-objects.ts';
import { readListing } from './listing.ts';
import { POD_TYPE } from './test-lane.ts';
import { PODS, TestUpstream, rejection } from './test-upstream.ts';

function asked() {
  const upstream = new TestUpstream();
  let parts = 0;
  const signal = new AbortController().signal;
  const listing = readListing(upstream, { ...POD_TYPE, lane: PODS, signal, onPart: () => parts++ });
  return { upstream, listing, parts: () => parts };
}

test('joins the pages; kind and apiVersion, which lists leave out, are put back', async () => {
  const { upstream, listing, parts } = asked();
  const first = await upstream.next();
  expect(first.query.get('limit')).toBe('500');
  expect(first.query.get('resourceVersion'), 'consistent').toBeNull();
  first.page(10, [pod('a', 5), pod('b', 6)], 'token');
  const second = await upstream.next();
  expect(second.query.get('continue')).toBe('token');
  second.page(10, [pod('c', 7)]);
  const { rv, objects } = await listing;
  expect(rv).toBe(10);
  expect(objects.map(({ key, rv: version }) => `${key}@${version}`)).toEqual([
    'default/a@5',
    'default/b@6',
    'default/c@7',
  ]);
  expect(objects[0]!.bytes).toEqual(pod('a', 5).bytes);
  expect(parts()).toBeGreaterThan(1);
});

test('an empty list is one', async () => {
  const { upstream, listing } = asked();
  (await upstream.next()).page(10, []);
  expect(await listing).toEqual({ rv: 10, objects: [] });
});

test("upstream's refusal is told as it is, also one in plain text", async () => {
  const { upstream, listing } = asked();
  const rejected = rejection(listing);
  (await upstream.next()).refuseText(429, 'Too many requests');
  expect(await rejected).toMatchObject({ status: { code: 429, message: 'Too many requests' } });
});

test('a page that is cut short, or is no list, is refused', async () => {
  const cut = asked();
  const first = rejection(cut.listing);
  const stream = (await cut.upstream.next()).stream();
  stream.raw('{"kind":"PodList","items":[');
  stream.end();
  expect(await first).toMatchObject({ message: expect.stringContaining('malformed') });
  const versionless = asked();
  const second = rejection(versionless.listing);
  const other = (await versionless.upstream.next()).stream();
  other.raw('{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}');
  other.end();
  expect(await second).toMatchObject({ message: expect.stringContaining('listed') });
});
