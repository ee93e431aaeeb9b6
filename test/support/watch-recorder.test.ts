import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { expectedEvents, stateAt } from './watch-model.ts';
import {
  check,
  type ObjectEvent,
  RecordedStream,
  type Rule,
  type WatchEvent,
  type WatchRequest,
} from './watch-recorder.ts';

const path = '/api/v1/configmaps';
const red = { colour: 'red' };
const blue = { colour: 'blue' };

function event(type: ObjectEvent['type'], key: string, rv: number, labels: Record<string, string> = red): ObjectEvent {
  return { type, key, uid: `uid-${key}`, rv, labels };
}

function bookmark(rv: number, initialEventsEnd = false): WatchEvent {
  return { type: 'BOOKMARK', rv, initialEventsEnd };
}

/** Two objects are there at 12; then a changes, leaves red and comes back, b is deleted, c comes. */
const history: ObjectEvent[] = [
  event('ADDED', 'ns/a', 11),
  event('ADDED', 'ns/b', 12),
  event('MODIFIED', 'ns/a', 13),
  event('MODIFIED', 'ns/a', 14, blue),
  event('DELETED', 'ns/b', 15),
  event('MODIFIED', 'ns/a', 16),
  event('ADDED', 'ns/c', 17),
];

function stream(request: Omit<WatchRequest, 'path'>, events: readonly WatchEvent[]): RecordedStream {
  const recorded = new RecordedStream(1, { path, ...request });
  for (const [index, entry] of events.entries()) recorded.record(entry, index);
  return recorded;
}

const fromStart = (): WatchEvent[] => [history[0]!, history[1]!, bookmark(12, true), ...history.slice(2), bookmark(17)];

function rules(recorded: RecordedStream, options: Parameters<typeof check>[2] = { upTo: 17 }): Rule[] {
  return [...new Set(check([recorded], history, options).map(({ rule }) => rule))];
}

describe('a faultless stream passes', () => {
  test('with initial events', () => {
    expect(check([stream({}, fromStart())], history, { upTo: 17 })).toEqual([]);
  });

  test('resumed from an RV', () => {
    expect(rules(stream({ resourceVersion: 14 }, [...history.slice(4), bookmark(17)]))).toEqual([]);
  });

  test('with a selector: leaving is a DELETED with the previous labels, coming back an ADDED', () => {
    const events = [history[0]!, history[1]!, bookmark(12, true), history[2]!, event('DELETED', 'ns/a', 14)];
    events.push(event('DELETED', 'ns/b', 15), event('ADDED', 'ns/a', 16), history[6]!);
    expect(rules(stream({ labels: red }, events))).toEqual([]);
  });

  test('with more than is asked for by upTo', () => {
    expect(rules(stream({}, fromStart()), { upTo: 14 })).toEqual([]);
  });
});

describe('each check sees its own fault, and only its own', () => {
  test('error: an ERROR event', () => {
    const events = [...fromStart(), { type: 'ERROR', code: 410, message: 'too old resource version' } as const];
    expect(rules(stream({}, events))).toEqual(['error']);
  });

  test('filter: an object of another namespace', () => {
    const events = [...history.slice(4), event('MODIFIED', 'other/x', 17)];
    expect(rules(stream({ resourceVersion: 14, namespace: 'ns' }, events))).toEqual(['filter']);
  });

  test('filter: a DELETED that shows the state that no longer matches', () => {
    const events = [
      event('DELETED', 'ns/a', 14, blue),
      event('DELETED', 'ns/b', 15),
      event('ADDED', 'ns/a', 16),
      history[6]!,
    ];
    expect(rules(stream({ resourceVersion: 13, labels: red }, events))).toEqual(['filter']);
  });

  test('initial: not in key order', () => {
    expect(rules(stream({}, fromStart().toSpliced(0, 2, history[1]!, history[0]!)))).toEqual(['initial']);
  });

  test('initial: never closed', () => {
    expect(rules(stream({}, fromStart().toSpliced(2, 1)))).toEqual(['initial']);
  });

  test('order: two events swapped', () => {
    expect(rules(stream({ resourceVersion: 12 }, [...history.slice(2, 5), history[6]!, history[5]!]))).toEqual([
      'order',
    ]);
  });

  test('order: two events of one RV swapped', () => {
    const lease = [event('DELETED', 'ns/a', 20), event('DELETED', 'ns/c', 20)];
    const recorded = stream({ resourceVersion: 17 }, lease.toReversed());
    expect(check([recorded], [...history, ...lease], { upTo: 20 }).map(({ rule }) => rule)).toEqual(['order']);
  });

  test('unique: one event twice', () => {
    expect(rules(stream({ resourceVersion: 14 }, [history[4]!, ...history.slice(4)]))).toEqual(['unique']);
  });

  test('bookmark: ahead of an event', () => {
    const events = [history[4]!, bookmark(16), history[5]!, history[6]!];
    expect(rules(stream({ resourceVersion: 14 }, events))).toEqual(['bookmark']);
  });

  test('bookmark: back in time', () => {
    expect(rules(stream({ resourceVersion: 14 }, [...history.slice(4), bookmark(18), bookmark(17)]))).toEqual([
      'bookmark',
    ]);
  });

  test('bookmark: before the initial events end', () => {
    expect(rules(stream({}, fromStart().toSpliced(1, 0, bookmark(5))))).toEqual(['bookmark']);
  });

  test('resume: an event at the RV asked for', () => {
    expect(rules(stream({ resourceVersion: 14 }, [history[3]!, ...history.slice(4)]))).toEqual(['resume']);
  });

  test('complete: a lost event', () => {
    expect(rules(stream({}, fromStart().toSpliced(5, 1)))).toEqual(['complete']);
  });

  test('complete: a lost departure from a selector', () => {
    const events = [history[2]!, event('DELETED', 'ns/b', 15), event('ADDED', 'ns/a', 16), history[6]!];
    expect(rules(stream({ resourceVersion: 12, labels: red }, events))).toEqual(['complete']);
  });

  test('complete: an object missing from the initial events', () => {
    expect(rules(stream({}, fromStart().toSpliced(1, 1)))).toEqual(['complete']);
  });

  test('complete: an event nobody made', () => {
    expect(
      rules(
        stream({ resourceVersion: 14 }, [...history.slice(4), { ...event('MODIFIED', 'ns/c', 17), uid: 'nobody' }]),
      ),
    ).toEqual(['complete']);
  });
});

describe('an interval that upstream could only repair', () => {
  const repair = { after: 13, upTo: 16 };
  const deleteAtWatermark = event('DELETED', 'ns/b', 13);

  test('may lack intermediate states and stamp its deletes with the watermark', () => {
    const events = [history[2]!, bookmark(13), deleteAtWatermark, history[5]!, history[6]!];
    expect(rules(stream({ resourceVersion: 12 }, events), { upTo: 17, repair })).toEqual([]);
  });

  test('may as well be whole', () => {
    expect(rules(stream({ resourceVersion: 12 }, history.slice(2)), { upTo: 17, repair })).toEqual([]);
  });

  test.each([
    ['a final state', [history[2]!, deleteAtWatermark, history[6]!]],
    ['a deletion', [history[2]!, history[5]!, history[6]!]],
    ['an event before it', [deleteAtWatermark, history[5]!, history[6]!]],
    ['an event after it', [history[2]!, deleteAtWatermark, history[5]!]],
  ])('still owes %s', (_, events) => {
    expect(rules(stream({ resourceVersion: 12 }, events), { upTo: 17, repair })).toEqual(['complete']);
  });

  test('owes a deletion once', () => {
    const events = [history[2]!, deleteAtWatermark, deleteAtWatermark, history[5]!, history[6]!];
    expect(rules(stream({ resourceVersion: 12 }, events), { upTo: 17, repair })).toEqual(['unique', 'complete']);
  });
});

describe('the model', () => {
  test('applied event by event it ends where a filter over the final objects ends', () => {
    const step = fc.record({
      name: fc.constantFrom('a', 'b', 'c'),
      colour: fc.constantFrom('red', 'blue'),
      remove: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const objects = new Map<string, ObjectEvent>();
        const made: ObjectEvent[] = [];
        for (const [index, { name, colour, remove }] of steps.entries()) {
          const held = objects.get(name);
          if (remove && held !== undefined) {
            made.push({ ...held, type: 'DELETED', rv: index + 1 });
            objects.delete(name);
          } else if (!remove) {
            const uid = held?.uid ?? `uid-${index}`;
            const put = { ...event(held === undefined ? 'ADDED' : 'MODIFIED', name, index + 1, { colour }), uid };
            made.push(put);
            objects.set(name, put);
          }
        }
        const final = stateAt(expectedEvents(made, { labels: red }), Infinity);
        const wanted = [...objects.values()].filter(({ labels }) => labels['colour'] === 'red');
        expect([...final.values()].map(({ uid, rv }) => `${uid} ${rv}`).toSorted()).toEqual(
          wanted.map(({ uid, rv }) => `${uid} ${rv}`).toSorted(),
        );
      }),
    );
  });
});
