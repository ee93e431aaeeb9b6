import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { check } from './check.ts';
import { CheckError } from './check-error.ts';
import type { RecordedRead, RecordedWrite } from './recorded.ts';
import { Reference } from './reference.ts';
import { interests, streamOf, timeOf, World, writeOf, WRITES } from './test-world.ts';

const histories = fc.array(fc.nat(WRITES - 1).map(writeOf), { minLength: 8, maxLength: 40 });

const requests = fc.array(
  fc.record({
    client: fc.constantFrom('a', 'b'),
    server: fc.constantFrom('node-1', 'node-2'),
    key: fc.option(fc.constantFrom('a/x', 'b/x'), { nil: undefined }),
    asked: fc.constantFrom('' as const, 0, 'seen' as const),
    pause: fc.nat(40),
    latency: fc.nat(30),
  }),
  { minLength: 3, maxLength: 20 },
);

type Requests = typeof requests extends fc.Arbitrary<infer Its> ? Its : never;

function versionAt(world: World, time: number): number {
  return world.events.findLast(({ rv }) => timeOf(rv) <= time)?.rv ?? 0;
}

/** What a GET of `key`, or a LIST, answers from the state at `rv`. */
function answer(world: World, key: string | undefined, rv: number): number | undefined {
  return key === undefined ? rv : world.selectedAt(rv, {}).get(key)?.rv;
}

/** Answers that are as new as the request, and not newer than the answer. */
function rightReads(world: World, asked: Requests): RecordedRead[] {
  let sent = 0;
  const seen = new Map<string, number>();
  return asked.map(({ client, server, key, asked: how, pause, latency }) => {
    sent += pause;
    const answered = sent + latency;
    sent = answered;
    const at = versionAt(world, answered);
    const read: RecordedRead = {
      client,
      server,
      asked: how === 'seen' ? (seen.get(client) ?? 0) : how,
      sent: answered - latency,
      answered,
      rv: answer(world, key, at),
      ...(key === undefined ? {} : { key }),
    };
    if (key === undefined) seen.set(client, at);
    return read;
  });
}

function stale(world: World, reads: readonly RecordedRead[]): string[] {
  const { violations } = check({ streams: [], reads }, world.reference, { upTo: 0 });
  return violations.map(({ check: name, promise }) => `${promise} ${name}`);
}

describe('I6: reads', () => {
  test('that are as new as they must be are right', () => {
    fc.assert(
      fc.property(histories, requests, (history, asked) => {
        const world = new World(history);
        expect(stale(world, rightReads(world, asked))).toEqual([]);
      }),
    );
  });

  test('of "" from before the request are stale', () => {
    fc.assert(
      fc.property(histories, requests, fc.nat(), (history, asked, choice) => {
        const world = new World(history);
        const reads = rightReads(world, asked);
        const wrong = reads.flatMap((read, i) => {
          if (read.asked !== '') return [];
          const floor = answer(world, read.key, versionAt(world, read.sent));
          const older = Array.from({ length: versionAt(world, read.sent) }, (_, rv) => answer(world, read.key, rv));
          return older
            .filter((rv) => rv !== undefined && rv < (floor ?? 0))
            .map((rv) => reads.with(i, { ...read, rv }));
        });
        fc.pre(wrong.length > 0);
        expect(stale(world, wrong[choice % wrong.length]!)).toContain('I6 floor');
      }),
    );
  });

  const world = new World([put(0), put(1), put(0), { ...put(0), kind: 'delete' }]);
  const list = { client: 'a', server: 'node-1', asked: '' as const, sent: 1, answered: 2, rv: 3 };

  test.each<[string, readonly RecordedRead[]]>([
    ['a list below the version asked for', [{ ...list, asked: 4 }]],
    [
      'a list below an earlier one of another node',
      [list, { ...list, server: 'node-2', asked: 1, sent: 3, answered: 4, rv: 2 }],
    ],
    ['a GET below a list before it', [list, { ...list, key: 'a/x', asked: 1, sent: 3, answered: 4, rv: 1 }]],
    ['a GET of what has been deleted', [{ ...list, key: 'a/x', sent: 40, answered: 41, rv: 3 }]],
    ['a GET that does not find what is there', [{ ...list, key: 'a/y', sent: 25, answered: 26, rv: undefined }]],
    ['a GET below the version asked for', [{ ...list, key: 'a/x', asked: 3, rv: 1 }]],
  ])('%s', (_, reads) => {
    expect(stale(world, reads)).toEqual(['I6 floor']);
  });

  test.each<[string, readonly RecordedRead[]]>([
    ['for 0 may give anything', [list, { ...list, asked: 0, sent: 3, answered: 4, rv: 1 }]],
    [
      'under way at once may overtake each other',
      [
        { ...list, answered: 9 },
        { ...list, asked: 1, sent: 3, answered: 10, rv: 2 },
      ],
    ],
    ['of different clients are not compared', [list, { ...list, client: 'b', asked: 1, sent: 3, answered: 4, rv: 2 }]],
    ['may not find what is deleted later', [{ ...list, key: 'a/x', sent: 35, answered: 36, rv: undefined }]],
  ])('%s', (_, reads) => {
    expect(stale(world, reads)).toEqual([]);
  });

  test('the excerpt shows the two answers', () => {
    const reads = [list, { ...list, server: 'node-2', asked: 1, sent: 3, answered: 4, rv: 2 }];
    const [violation] = check({ streams: [], reads }, world.reference, { upTo: 0 }).violations;
    expect(violation?.detail).toBe('a list of 2 is below 3: node-1 answered 3 before');
    expect(violation?.excerpt.split('\n')).toEqual([
      'reads of a:',
      '    a at node-1: LIST from "", sent 1, answered 2: 3',
      '    a at node-2: LIST from 1, sent 3, answered 4: 2',
    ]);
  });
});

describe('I6: watches', () => {
  test('initial events from before the request are stale', () => {
    fc.assert(
      fc.property(histories, fc.constantFrom(...interests), fc.nat(99), (history, interest, part) => {
        const world = new World(history);
        const rv = Math.floor((world.rv * part) / 100);
        const events = [
          ...world.initialEvents(rv, interest),
          ...world.liveEvents(interest, { after: rv, upTo: world.rv }),
        ];
        const names = (opened: number): string[] =>
          check({ streams: [streamOf(interest, events, { opened })] }, world.reference, {
            upTo: world.rv,
          }).violations.map(({ check: name, promise }) => `${promise} ${name}`);
        expect(names(timeOf(rv))).toEqual([]);
        expect(names(timeOf(world.rv))).toEqual(versionAt(world, timeOf(rv)) < world.rv ? ['I6 floor'] : []);
      }),
    );
  });

  test('so are those from before the reference, if it had begun', () => {
    const world = new World([put(0), put(0), put(0)]);
    const reference = new Reference({
      from: 2,
      fromTime: 20,
      objects: world.events.slice(1, 2),
      events: world.events.slice(2),
    });
    const events = [...world.initialEvents(1, {}), ...world.liveEvents({}, { after: 1, upTo: 3 })];
    const { violations } = check({ streams: [streamOf({}, events, { opened: 25 })] }, reference, { upTo: 3 });
    expect(violations.map(({ promise, detail }) => `${promise} ${detail}`)).toEqual([
      'I6 initial events of 1 to a request that came when upstream was at 2',
    ]);
    expect(() => check({ streams: [streamOf({}, events, { opened: 5 })] }, reference, { upTo: 3 })).toThrow(CheckError);
  });

  test('what was written is visible within the bound', () => {
    fc.assert(
      fc.property(histories, fc.constantFrom(...interests), fc.nat(), (history, interest, choice) => {
        const world = new World(history);
        const sent: RecordedWrite[] = world.events.map(({ key, rv }) => ({ key, rv, answered: timeOf(rv) }));
        const right = streamOf(
          { ...interest, resourceVersion: 0 },
          world.liveEvents(interest, { after: 0, upTo: world.rv, every: Infinity }),
        );
        const names = (times: readonly number[], until: number): string[] =>
          check({ streams: [{ ...right, times }], writes: sent }, world.reference, {
            upTo: world.rv,
            visibility: { withinMs: 100, until },
          }).violations.map(({ check: name, promise }) => `${promise} ${name}`);
        fc.pre(right.events.length > 0);
        expect(names(right.times, Infinity)).toEqual([]);
        const late = right.times.map((time, i) => (i >= choice % right.times.length ? time + 150 : time));
        expect(new Set(names(late, Infinity))).toEqual(new Set(['I6 visibility']));
        // Nobody waited long enough to say.
        expect(names(late, 50)).toEqual([]);
      }),
    );
  });
});

function put(object: number) {
  return { object, app: 'web', node: 'n1', kind: 'put', expiry: false, gap: 0 } as const;
}
