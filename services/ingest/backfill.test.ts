import { describe, expect, test } from 'vitest';
import { pod, podSchema } from '@dogwatch/watch/test-objects.ts';
import { readBackfill } from './backfill.ts';
import { PODS, TestUpstream, turns, rejection } from './test-upstream.ts';

function asked(from: number, to: number) {
  const upstream = new TestUpstream();
  const abort = new AbortController();
  const found = readBackfill(upstream, { lane: PODS, schema: podSchema, from, to, signal: abort.signal }).then(
    (changes) => changes?.map(({ type, object }) => `${type} ${object.name}@${object.rv}`),
  );
  return { upstream, abort, found };
}

describe('reads what came in (from, to]', () => {
  test('until an event from beyond shows that it is whole', async () => {
    const { upstream, found } = asked(5, 10);
    const request = await upstream.next();
    expect(request.from).toBe(5);
    const stream = request.stream();
    stream.send('ADDED', pod('a', 6));
    stream.send('DELETED', pod('a', 10));
    stream.send('ADDED', pod('b', 11), pod('c', 12));
    expect(await found).toEqual(['ADDED a@6', 'DELETED a@10']);
    expect(stream.cancelled).toBe(true);
  });

  test('or a bookmark at its end', async () => {
    const { upstream, found } = asked(5, 10);
    const stream = (await upstream.next()).stream();
    stream.send('ADDED', pod('a', 6));
    stream.bookmark(8);
    await turns();
    expect(stream.cancelled).toBe(false);
    stream.bookmark(10);
    expect(await found).toEqual(['ADDED a@6']);
  });

  test('and goes on where a watch ended, with the last version whole', async () => {
    const { upstream, found } = asked(5, 10);
    const first = (await upstream.next()).stream();
    first.send('DELETED', pod('a', 7), pod('b', 8));
    first.end();
    const second = await upstream.next();
    expect(second.from).toBe(7);
    const stream = second.stream();
    stream.send('DELETED', pod('b', 8), pod('c', 8));
    stream.bookmark(20);
    expect(await found).toEqual(['DELETED a@7', 'DELETED b@8', 'DELETED c@8']);
  });
});

describe('cannot', () => {
  test.each(['answer', 'event'] as const)('where upstream no longer holds it (410 as an %s)', async (as) => {
    const { upstream, found } = asked(5, 10);
    const request = await upstream.next();
    if (as === 'answer') request.refuse(410, { reason: 'Expired' });
    else request.stream().error(410, { reason: 'Expired' });
    expect(await found).toBeUndefined();
  });

  test('where that expires in the middle: half a history is none', async () => {
    const { upstream, found } = asked(5, 10);
    const first = (await upstream.next()).stream();
    first.send('ADDED', pod('a', 6));
    first.end();
    (await upstream.next()).stream().error(410);
    expect(await found).toBeUndefined();
  });

  test('where upstream says so', async () => {
    const { upstream, found } = asked(5, 10);
    const rejected = rejection(found);
    (await upstream.next()).refuse(429);
    expect(await rejected).toMatchObject({ status: { code: 429 } });
  });

  test('where three watches in a row do not show the end of it', async () => {
    const { upstream, found } = asked(5, 10);
    const rejected = rejection(found);
    for (let i = 0; i < 3; i++) (await upstream.next()).stream().end();
    expect(await rejected).toMatchObject({ status: { code: 503 } });
  });

  test('where upstream sends garbage, or the connection breaks', async () => {
    const garbled = asked(5, 10);
    const first = rejection(garbled.found);
    (await garbled.upstream.next()).stream().raw('garbage\n');
    expect(await first).toMatchObject({ message: expect.stringContaining('malformed') });
    const broken = asked(5, 10);
    const second = rejection(broken.found);
    (await broken.upstream.next()).stream().break();
    expect(await second).toMatchObject({ message: expect.stringContaining('connection lost') });
  });

  test('where it is closed meanwhile', async () => {
    const { upstream, abort, found } = asked(5, 10);
    const rejected = rejection(found);
    const request = await upstream.next();
    abort.abort(new Error('closed'));
    expect(await rejected).toMatchObject({ message: expect.stringContaining('closed') });
    expect(request.signal.aborted).toBe(true);
  });
});
