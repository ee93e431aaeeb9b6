import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { check, type CheckOptions, summarise } from './check.ts';
import type { RecordedStream } from './recorded.ts';
import { faults } from './test-faults.ts';
import { interests, streamOf, World, writeOf, WRITES } from './test-world.ts';
import { PROMISES } from './violation.ts';

const histories = fc.array(fc.nat(WRITES - 1).map(writeOf), { minLength: 8, maxLength: 40 });

const scene = fc.record({
  history: histories,
  interest: fc.constantFrom(...interests),
  initial: fc.boolean(),
  /** Where the stream begins, in hundredths of the history. */
  start: fc.nat(70),
});

type Scene = typeof scene extends fc.Arbitrary<infer Its> ? Its : never;

/** The right stream of a client that watches to the end. */
function rightStream(world: World, { interest, initial, start }: Scene): RecordedStream {
  const from = Math.floor((world.rv * start) / 100);
  const live = world.liveEvents(interest, { after: from, upTo: world.rv });
  return initial
    ? streamOf(interest, [...world.initialEvents(from, interest), ...live])
    : streamOf({ ...interest, resourceVersion: from }, live);
}

function complaints(streams: readonly RecordedStream[], world: World, options: Partial<CheckOptions> = {}): string {
  return summarise(check({ streams }, world.reference, { upTo: world.rv, ...options }));
}

describe('a right stream', () => {
  test('is never complained of', () => {
    fc.assert(
      fc.property(scene, (its) => {
        const world = new World(its.history);
        expect(complaints([rightStream(world, its)], world)).toBe('');
      }),
      { numRuns: 300 },
    );
  });

  test('may end anywhere, and be gone on with from the last version seen', () => {
    fc.assert(
      fc.property(scene, fc.nat(100), (its, cut) => {
        const world = new World(its.history);
        const whole = rightStream(world, { ...its, initial: true });
        const end = whole.events.findIndex((event) => event.type === 'BOOKMARK');
        const length = end + 1 + Math.floor(((whole.events.length - end) * cut) / 101);
        const last = whole.events[length - 1]!;
        const rv = 'rv' in last ? last.rv : 0;
        // Events of one version are one write but for an expired lease, behind which a client cannot go on.
        fc.pre(!whole.events.slice(length).some((event) => event.type === 'DELETED' && event.rv === rv));
        const first = streamOf(its.interest, whole.events.slice(0, length), { client: 'c', ended: 'clean end' });
        const rest = world.liveEvents(its.interest, { after: rv, upTo: world.rv });
        const second = streamOf({ ...its.interest, resourceVersion: rv }, rest, { id: 2, client: 'c' });
        expect(complaints([first, second], world)).toBe('');
      }),
      { numRuns: 200 },
    );
  });

  test.each(['repair', 'conflation', 'state-diff'] as const)('may pass over what a named %s passed over', (why) => {
    fc.assert(
      fc.property(scene, fc.nat(100), fc.nat(100), (its, a, b) => {
        const world = new World(its.history);
        const passed = passing(world, its, { a, b, why });
        expect(complaints([passed.stream], world, { passedOver: [{ why, ...passed.span }] })).toBe('');
        // And a stream that was not hit is right too.
        expect(complaints([rightStream(world, its)], world, { passedOver: [{ why, ...passed.span }] })).toBe('');
      }),
      { numRuns: 200 },
    );
  });
});

describe('a planted fault is named', () => {
  test.each(faults.map((fault) => [fault.what, fault] as const))('%s', (_, fault) => {
    let planted = 0;
    fc.assert(
      fc.property(scene, fc.infiniteStream(fc.nat(9_999)), (its, choices) => {
        const world = new World(its.history);
        const right = rightStream(world, its);
        const pick = <Item>(items: readonly Item[]): Item | undefined => items[choices.next().value! % items.length];
        const wrong = fault.plant(right, pick, world);
        fc.pre(wrong !== undefined);
        planted += 1;
        const stream = 'events' in wrong ? wrong : { ...right, events: wrong, times: wrong.map(() => 0) };
        const { violations } = check({ streams: [stream] }, world.reference, { upTo: world.rv });
        const named = violations.find((violation) => violation.check === fault.check);
        expect(named?.promise).toBe(PROMISES[fault.check]);
        expect(named?.detail).not.toBe('');
        expect(named?.excerpt.split('\n').length).toBeLessThanOrEqual(20);
        const others = new Set(violations.map((violation) => violation.check).filter((name) => name !== fault.check));
        expect([...others].filter((name) => !fault.also.includes(name))).toEqual([]);
      }),
      { numRuns: 100, maxSkipsPerRun: 200 },
    );
    expect(planted).toBeGreaterThanOrEqual(100);
  });
});

describe('an interval that was passed over', () => {
  const why = 'state-diff';

  test('must be named, for this stream', () => {
    fc.assert(
      fc.property(scene, (its) => {
        const world = new World(its.history);
        const { stream, span } = passing(world, its, { a: 20, b: 90, why });
        const owed = world.liveEvents(its.interest, { ...span, every: Infinity });
        fc.pre(stream.events.filter(({ type }) => type !== 'BOOKMARK').length < owed.length);
        const options = { upTo: world.rv, passedOver: [{ why, ...span, stream: stream.id + 1 }] } as const;
        const names = check({ streams: [stream] }, world.reference, options).violations;
        expect(names.map((violation) => violation.check)).toContainEqual(
          expect.stringMatching(/^(reliability|resumability)$/),
        );
      }),
    );
  });

  test('I3: the deletes of a repair do not stand below a bookmark', () => {
    const world = new World([writeOf(0), writeOf(1), { ...writeOf(0), kind: 'delete' }]);
    const passedOver = [{ why: 'repair', after: 1, upTo: 3 }] as const;
    const gone = { ...world.events[2]!, rv: 1 };
    const found = (bookmark: number): string[] => {
      const events = [{ type: 'BOOKMARK', rv: bookmark, initialEventsEnd: false }, gone, world.events[1]!] as const;
      const stream = streamOf(
        { resourceVersion: 1 },
        bookmark > 1 ? [world.events[1]!, ...events.slice(0, 2)] : events,
      );
      const { violations } = check({ streams: [stream] }, world.reference, { upTo: 3, passedOver });
      return violations.map((violation) => violation.check);
    };
    expect(found(1)).toEqual([]);
    expect(found(2)).toContain('bookmarks');
  });

  test.each(['repair', 'conflation'] as const)('still owes the newest state and every departure: %s', (kind) => {
    fc.assert(
      fc.property(scene, fc.nat(999), (its, choice) => {
        const world = new World(its.history);
        const { stream, span } = passing(world, its, { a: 20, b: 90, why: kind });
        const inside = world.difference(its.interest, span, kind === 'repair').length;
        fc.pre(inside > 0);
        const from = stream.events.findLastIndex((event) => event.type === 'BOOKMARK' && event.rv === span.after);
        const events = stream.events.toSpliced(from + 1 + (choice % inside), 1);
        const { violations } = check({ streams: [{ ...stream, events }] }, world.reference, {
          upTo: world.rv,
          passedOver: [{ why: kind, ...span }],
        });
        const names = violations.map((violation) => violation.check);
        expect(names).toContain('reliability');
        expect(names.filter((name) => !['reliability', 'convergence', 'create'].includes(name))).toEqual([]);
      }),
    );
  });
});

/** A stream that is told, of a part of the history, only what differs between its ends; a bookmark stands before it. */
function passing(
  world: World,
  { interest, start }: Scene,
  { a, b, why }: { readonly a: number; readonly b: number; readonly why: 'repair' | 'conflation' | 'state-diff' },
): { readonly stream: RecordedStream; readonly span: { readonly after: number; readonly upTo: number } } {
  const from = Math.floor((world.rv * start) / 100);
  const [after, upTo] = [a, b]
    .map((part) => from + Math.floor(((world.rv - from) * part) / 100))
    .toSorted((x, y) => x - y) as [number, number];
  const span = { after, upTo };
  const stream = streamOf(interest, [
    ...world.initialEvents(from, interest),
    ...world.liveEvents(interest, { after: from, upTo: after }),
    { type: 'BOOKMARK', rv: after, initialEventsEnd: false },
    ...world.difference(interest, span, why === 'repair'),
    ...world.liveEvents(interest, { after: upTo, upTo: world.rv }),
  ]);
  return { stream, span };
}
