import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { check, type CheckOptions, summarise } from './check.ts';
import { CheckError } from './check-error.ts';
import type { RecordedStream } from './recorded.ts';
import { Reference } from './reference.ts';
import { bookmark, interests, streamOf, World, writeOf, WRITES } from './test-world.ts';

const histories = fc.array(fc.nat(WRITES - 1).map(writeOf), { minLength: 8, maxLength: 40 });

function put(object: number, app: 'web' | 'db' = 'web') {
  return { object, app, node: 'n1', kind: 'put', expiry: false, gap: 0 } as const;
}

/** a/x at 1, a/y at 2, a/x is changed at 3, leaves web at 4, a/y is deleted at 5. */
const world = new World([put(0), put(1), put(0), put(0, 'db'), { ...put(1), kind: 'delete' }]);
const web = { labelSelector: 'app=web' };

function found(streams: readonly RecordedStream[], options: Partial<CheckOptions> = {}): string[] {
  const { violations } = check({ streams }, world.reference, { upTo: world.rv, ...options });
  return violations.map(({ promise, check: name, detail }) => `${promise} ${name}: ${detail}`);
}

describe('clients that go on', () => {
  const first = streamOf({}, [...world.initialEvents(2, {}), ...world.liveEvents({}, { after: 2, upTo: 4 })], {
    client: 'c',
    ended: 'clean end',
  });
  const rest = world.liveEvents({}, { after: 4, upTo: 5 });

  test('I5: a version that was not the last seen shows in what is held', () => {
    const later = streamOf({ resourceVersion: 5 }, [], { id: 2, client: 'c' });
    expect(found([first, later])).toEqual(['I5 convergence: a/y is held as u2 @2 in the end, upstream has none']);
  });

  test('I10: at kube-apiserver, what does not go on is that of the removal', () => {
    const removed = { id: 2, client: 'c', server: 'kube-apiserver' } as const;
    expect(found([first, streamOf({ resourceVersion: 4 }, rest, removed)])).toEqual([]);
    expect(found([first, streamOf({ resourceVersion: 4 }, [], removed)])[0]).toBe(
      'I10 resumability: DELETED a/y u2 @5 is missing',
    );
  });

  test('I5: an ERROR 410 is an end only where it is allowed', () => {
    const expired = { type: 'ERROR', code: 410, message: 'too old resource version' } as const;
    const stream = streamOf({ resourceVersion: 4 }, [expired], { ended: 'clean end' });
    expect(found([stream])).toEqual(['I5 ending: ERROR 410 too old resource version']);
    expect(found([stream], { allowedErrors: [410] })).toEqual([]);
    const more = { ...stream, events: [expired, ...rest], times: [0, 0, 0] };
    expect(found([more], { allowedErrors: [410] })).toEqual(['I5 ending: DELETED a/y u2 @5 comes after an ERROR']);
  });

  test('a resume that was cut while its initial events came is owed nothing more', () => {
    expect(found([streamOf({}, world.initialEvents(2, {}).slice(0, 1), { ended: 'closed' })])).toEqual([]);
  });
});

describe('I7: the log of rights', () => {
  test('no object is shown to who could not read it, but within the time a re-check takes', () => {
    fc.assert(
      fc.property(histories, fc.constantFrom(...interests), fc.nat(500), (history, interest, to) => {
        const its = new World(history);
        const stream = streamOf(
          { ...interest, resourceVersion: 0 },
          its.liveEvents(interest, { after: 0, upTo: its.rv }),
          { identity: 'alice' },
        );
        const grants = [
          { identity: 'alice', namespace: 'a', from: 0, to },
          { identity: 'alice', namespace: 'b', from: 0, to: Infinity },
          { identity: 'bob', from: 0, to: Infinity },
        ];
        const leaked = stream.events.filter((event, i) => {
          if (!('key' in event)) return false;
          return event.key.startsWith('a-b/') || (event.key.startsWith('a/') && stream.times[i]! > to + 50);
        });
        const { violations, omitted } = check({ streams: [stream] }, its.reference, {
          upTo: its.rv,
          rights: { grants, graceMs: 50 },
        });
        expect(violations.length + omitted).toBe(leaked.length);
        expect(violations.every(({ check: name, promise }) => name === 'leak' && promise === 'I7')).toBe(true);
      }),
    );
  });
});

describe('the excerpt', () => {
  test('is the request and the few events around what is wrong, on both sides', () => {
    const live = world.liveEvents(web, { after: 2, upTo: 5, every: Infinity });
    const stream = streamOf(web, [...world.initialEvents(2, web), live[0]!, live[2]!, bookmark(5)]);
    const verdict = check({ streams: [stream] }, world.reference, { upTo: 5 });
    expect(verdict.violations.map(({ check: name }) => name)).toEqual(['reliability', 'convergence']);
    expect(verdict.violations[0]?.excerpt.split('\n')).toEqual([
      'stream 1: /api/v1/pods labelSelector=app=web from initial events',
      '    ...',
      '    MODIFIED a/x u1 @3 app=web',
      '  > DELETED a/y u2 @5 app=web',
      '    BOOKMARK @5',
      'reference:',
      '    ...',
      '    MODIFIED a/x u1 @3 app=web',
      '  > MODIFIED a/x u1 @4 app=db',
      '    DELETED a/y u2 @5 app=web',
    ]);
    expect(summarise(verdict)).toContain('I4 reliability: 1 violations\nDELETED a/x u1 @4 is missing\n');
  });

  test('of many violations the first are shown, the others counted', () => {
    const many = new World(Array.from({ length: 40 }, () => put(0)));
    const stream = streamOf({ resourceVersion: 0 }, many.liveEvents({}, { after: 39, upTo: 40 }));
    const verdict = check({ streams: [stream] }, many.reference, { upTo: 40 });
    expect(verdict.violations).toHaveLength(10);
    expect(verdict.omitted).toBe(29);
    expect(summarise(verdict)).toContain('29 more violations');
  });
});

describe('what cannot be checked is refused', () => {
  test('a stream that begins before the reference', () => {
    const reference = new Reference({ from: 3, objects: world.events.slice(0, 2), events: world.events.slice(3) });
    const stream = streamOf({ resourceVersion: 2 }, []);
    expect(() => check({ streams: [stream] }, reference, { upTo: 5 })).toThrow(
      expect.objectContaining({ code: 'reference_too_short' }),
    );
  });

  test('a reference out of order', () => {
    expect(() => new Reference({ events: world.events.toReversed() })).toThrow(CheckError);
  });

  test('a selector by a field that was not recorded', () => {
    const stream = streamOf({ resourceVersion: 0, fieldSelector: 'status.phase=Running' }, []);
    expect(() => check({ streams: [stream] }, world.reference, { upTo: 5 })).toThrow(
      expect.objectContaining({ code: 'unknown_field' }),
    );
  });
});
