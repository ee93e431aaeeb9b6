import { describe, expect, test } from 'vitest';
import type { LinkRequest } from '@dogwatch/bus/bus.ts';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { linkTrack } from '@dogwatch/bus/link-track.ts';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { FACTS, PODS, silent, whole } from '@dogwatch/replica/test-ingest.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { change, pod } from '@dogwatch/watch/test-objects.ts';
import type { Change, Position } from '@dogwatch/watch/watch-cache.ts';
import { HeldTrack } from './held-track.ts';
import { TrackLinks } from './track-links.ts';

const FROM = { epoch: 1, position: whole(10) };

/** What an envelope says. */
function said(envelope: Envelope): string {
  switch (envelope.kind) {
    case 'batch': {
      const { previous, changes } = envelope.batch;
      return `${place(previous)} ${changes.map(({ type, object }) => `${type} ${object.name}@${object.rv}`).join()}`;
    }
    case 'watermark':
      return `${place(envelope.previous)} watermark ${envelope.rv}`;
    case 'listing':
    case 'listed':
      return envelope.kind;
    case 'end':
      return `end ${envelope.end}`;
  }
}

function place({ rv, index }: Position): string {
  return index > 1_000 ? `${rv}` : `${rv}.${index}`;
}

function started({ windowBytesMax = 1_000_000, links }: { windowBytesMax?: number; links?: TrackLinks } = {}) {
  const bus = new MemoryBus();
  const clock = createFakeClock();
  const held = new HeldTrack({
    bus,
    shard: 'shard-0',
    lane: PODS,
    partition: 0,
    recovery: { recover: () => Promise.reject(new Error('nobody')) },
    limits: { windowBytesMax, tombstoneBytesMax: 100_000 },
    clock,
    log: silent,
  });
  const put = (envelope: Envelope): void => bus.publish(trackOf(PODS), envelope);
  const listing = (rv: number, objects: readonly ReturnType<typeof pod>[], epoch = 1): void =>
    put({ kind: 'listing', epoch, facts: FACTS, listing: { rv, objects } });
  const batch = (previous: Position, ...changes: readonly Change[]): void =>
    put({ kind: 'batch', epoch: 1, batch: { previous, changes } });
  const hear = (follower: string): string[] => {
    const heard: string[] = [];
    bus.follow(linkTrack(follower, 'shard-0', trackOf(PODS)), (envelope) => heard.push(said(envelope)));
    return heard;
  };
  listing(10, [pod('a', 3), pod('b', 4), pod('c', 5, { node: 'n1' }), pod('d', 6, { node: 'n2' })]);
  return { bus, clock, held, links: links ?? held.links, put, listing, batch, hear };
}

function request(parts: Partial<LinkRequest>): LinkRequest {
  return { follower: 'f', replace: false, names: [], indexed: [], ...parts };
}

const ALL = request({ replace: true, names: ['default/a'], indexed: ['n1'] });

describe('what is named', () => {
  test('is given as it is now, and from then on put on the link: nothing else is', () => {
    const { links, batch, hear } = started();
    const heard = hear('f');
    const state = links.link(ALL, undefined);
    expect(state).toMatchObject({ kind: 'state', epoch: 1, position: whole(10), watermark: 10, changes: [] });
    expect(state?.kind === 'state' && state.listing.objects.map(({ name }) => name)).toEqual(['a', 'c']);
    batch(whole(10), change('MODIFIED', pod('b', 11)), change('MODIFIED', pod('a', 12)));
    batch(
      { rv: 12, index: 0 },
      change('DELETED', pod('c', 13, { node: 'n1' })),
      change('ADDED', pod('e', 14, { node: 'n1' })),
    );
    batch({ rv: 14, index: 0 }, change('MODIFIED', pod('d', 15, { node: 'n2' })));
    expect(heard).toEqual(['10 MODIFIED a@12', '12.0 DELETED c@13,ADDED e@14']);
  });

  test('beside: only the new is given, and both are put on it, once', () => {
    const { links, batch, hear } = started();
    const heard = hear('f');
    links.link(ALL, undefined);
    const state = links.link(request({ names: ['default/c', 'default/b'] }), undefined);
    expect(state?.kind === 'state' && state.listing.objects.map(({ name }) => name)).toEqual(['c', 'b']);
    batch(whole(10), change('MODIFIED', pod('b', 11)), change('MODIFIED', pod('c', 12, { node: 'n1' })));
    expect(heard).toEqual(['10 MODIFIED b@11,MODIFIED c@12']);
  });

  test('I4: beside a link that is not there is refused, or its follower would take the rest for quiet', () => {
    const { links, held } = started();
    expect(() => links.link(request({ names: ['default/a'] }), undefined)).toThrow('no link of f');
    expect(held.links.empty).toBe(true);
  });

  test('of what changed since a place only that is given, where it is known', () => {
    const { links, batch } = started();
    batch(whole(10), change('MODIFIED', pod('a', 11)), change('MODIFIED', pod('b', 12)));
    const since = links.link(ALL, FROM);
    expect(since).toMatchObject({ kind: 'changes', position: { rv: 12, index: 0 }, watermark: 12 });
    expect(since?.changes.map(({ object }) => object.name)).toEqual(['a']);
    expect(links.link(ALL, { ...FROM, epoch: 0 })?.kind).toBe('state');
    expect(links.link(ALL, { epoch: 1, position: whole(9) })?.kind).toBe('state');
  });

  test('deletes are remembered with it', () => {
    const { links, batch } = started({ windowBytesMax: 1 });
    batch(whole(10), change('DELETED', pod('a', 11)), change('DELETED', pod('b', 12)), change('ADDED', pod('a', 13)));
    const state = links.link(ALL, undefined);
    expect(state?.kind === 'state' && [state.tombstones.map(({ object }) => object.rv), state.horizon]).toEqual([
      [11],
      10,
    ]);
  });

  test('a pod that comes to its node is put on the link of the node', () => {
    const { links, batch, hear } = started();
    const heard = hear('f');
    links.link(ALL, undefined);
    batch(whole(10), change('MODIFIED', pod('b', 11, { node: 'n1' })));
    expect(heard).toEqual(['10 MODIFIED b@11']);
  });

  test('is no more than there is room for: what was on the link stays', () => {
    const { bus, clock, held, batch, hear } = started();
    const links = new TrackLinks(held, { bus, clock, shard: 'shard-0', links: { namedMax: 3, followersMax: 2 } });
    const heard = hear('f');
    links.link(ALL, undefined);
    links.link(request({ names: ['default/a', 'default/b'] }), undefined);
    expect(() => links.link(request({ names: ['default/d'] }), undefined)).toThrow('more than 3');
    expect(() => links.link({ ...ALL, names: ['1', '2', '3'] }, undefined)).toThrow('more than 3');
    batch(whole(10), change('MODIFIED', pod('a', 11)));
    expect(heard).toEqual(['10 MODIFIED a@11']);
    links.link({ ...ALL, follower: 'g' }, undefined);
    expect(() => links.link({ ...ALL, follower: 'h' }, undefined)).toThrow('more than 2');
  });
});

describe('what is not wanted any more', () => {
  test('is taken off the link', () => {
    const { links, batch, hear } = started();
    const heard = hear('f');
    links.link(ALL, undefined);
    links.unlink(request({ names: ['default/a'] }));
    batch(whole(10), change('MODIFIED', pod('a', 11)), change('MODIFIED', pod('c', 12, { node: 'n1' })));
    expect(heard).toEqual(['10 MODIFIED c@12']);
    links.unlink(request({ indexed: ['n1'] }));
    expect(links.empty).toBe(true);
  });

  test('where nothing is named, it is all', () => {
    const { links } = started();
    links.link(ALL, undefined);
    links.unlink(request({}));
    expect([...links.followers]).toEqual([]);
  });

  test('replaced: only what is named last is put on it', () => {
    const { links, batch, hear } = started();
    const heard = hear('f');
    links.link(ALL, undefined);
    links.link(request({ replace: true, names: ['default/b'] }), FROM);
    batch(whole(10), change('MODIFIED', pod('a', 11)), change('MODIFIED', pod('b', 12)));
    expect(heard).toEqual(['10 MODIFIED b@12']);
  });
});

describe('I3: how far the partition is', () => {
  test('is told behind what was put on the link, and again every second as a sign of life', async () => {
    const { links, batch, put, clock, hear } = started();
    const heard = hear('f');
    links.link(ALL, undefined);
    links.mark();
    links.mark();
    batch(whole(10), change('MODIFIED', pod('a', 11)), change('MODIFIED', pod('b', 12)));
    put({ kind: 'watermark', epoch: 1, previous: { rv: 12, index: 0 }, rv: 20 });
    links.mark();
    await clock.advanceAsync(999);
    links.mark();
    await clock.advanceAsync(1);
    links.mark();
    expect(heard).toEqual(['10 watermark 10', '10 MODIFIED a@11', '11.0 watermark 20', '11.0 watermark 20']);
  });

  test('a repair, and another history, are to be read anew', () => {
    const { links, listing, hear } = started();
    const heard = hear('f');
    links.link(ALL, undefined);
    links.mark();
    listing(20, [pod('a', 15)]);
    links.mark();
    listing(4, [pod('a', 3)], 2);
    links.mark();
    expect(heard).toEqual(['10 watermark 10', 'listed', '20 watermark 20', 'listed', '4 watermark 4']);
  });

  test('I4: more at once than the window keeps is to be read anew', () => {
    const { links, batch, hear } = started({ windowBytesMax: 1_500 });
    const heard = hear('f');
    links.link(ALL, undefined);
    batch(whole(10), ...[11, 12, 13, 14, 15].map((rv) => change('MODIFIED', pod('a', rv))));
    batch({ rv: 15, index: 0 }, change('MODIFIED', pod('a', 16)));
    expect(heard).toEqual(['listed', '15.0 MODIFIED a@16']);
  });
});

test('the end of the lane is told; that of this shard is found out', () => {
  const { held, links, put, hear } = started();
  const heard = hear('f');
  links.link(ALL, undefined);
  put({ kind: 'end', epoch: 1, end: 'ended' });
  held.drop();
  expect(heard).toEqual(['end ended']);
});

test('before anything is held there is nothing to link to', () => {
  const bus = new MemoryBus();
  const held = new HeldTrack({
    bus,
    shard: 'shard-0',
    lane: PODS,
    partition: 0,
    recovery: { recover: () => Promise.reject(new Error('nobody')) },
    limits: { windowBytesMax: 1_000, tombstoneBytesMax: 1_000 },
    clock: createFakeClock(),
    log: silent,
  });
  expect(held.links.link(ALL, undefined)).toBeUndefined();
  held.links.mark();
});
