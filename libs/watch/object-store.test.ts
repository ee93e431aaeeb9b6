import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ObjectStore, compareKeys, sortKeys } from './object-store.ts';
import { pod } from './test-objects.ts';

describe('ObjectStore', () => {
  test('keeps upstream order: - and . sort before the slash after a namespace (row L15)', () => {
    const store = new ObjectStore();
    for (const namespace of ['a', 'a-b', 'a.b', 'aa']) store.set(pod('x', 1, { namespace }));
    expect([...store.snapshot().range()].map(({ key }) => key)).toEqual(['a-b/x', 'a.b/x', 'a/x', 'aa/x']);
  });

  test('a snapshot does not change with the store', () => {
    const store = new ObjectStore();
    for (let i = 0; i < 2000; i++) store.set(pod(`p${String(i).padStart(5, '0')}`, i + 1));
    const before = store.snapshot();
    store.delete('default/p00100');
    store.set(pod('p00200', 9999));
    store.set(pod('zzz', 9999));
    expect(before.get('default/p00100')?.rv).toBe(101);
    expect(before.get('default/p00200')?.rv).toBe(201);
    expect(before.get('default/zzz')).toBeUndefined();
    expect([...before.range()]).toHaveLength(2000);
    expect(store.size).toBe(2000);
  });

  test('a namespace is a range, and ends where the next begins', () => {
    const store = new ObjectStore();
    for (const namespace of ['a', 'a-b', 'ab', 'b']) {
      for (const name of ['x', 'y']) store.set(pod(name, 1, { namespace }));
    }
    expect([...store.snapshot().range('a/')].map(({ key }) => key)).toEqual(['a/x', 'a/y']);
  });

  test('a range begins where it is told to, and is counted without being walked', () => {
    const store = new ObjectStore();
    for (const namespace of ['a', 'b', 'c']) {
      for (let i = 0; i < 600; i++) store.set(pod(`p${String(i).padStart(3, '0')}`, 1, { namespace }));
    }
    const snapshot = store.snapshot();
    for (const prefix of ['', 'a/', 'b/', 'c/', 'bb/', 'd/']) {
      for (const from of [prefix, `${prefix}p1`, `${prefix}p511\0`, `${prefix}p5999`, `${prefix}z`]) {
        const all = [...snapshot.range(prefix)].filter(({ key }) => compareKeys(key, from) >= 0);
        expect([...snapshot.range(prefix, from)]).toEqual(all);
        expect(snapshot.count(prefix, from)).toBe(all.length);
      }
    }
    expect(new ObjectStore().snapshot().count()).toBe(0);
  });

  test('keys are ordered by their UTF-8 bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (a, b) => {
        expect(Math.sign(compareKeys(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
    );
  });

  test('keys are sorted alike, the usual ones natively', () => {
    const keys = fc.array(fc.oneof(fc.string(), fc.string({ unit: 'grapheme' })));
    fc.assert(
      fc.property(keys, (all) => {
        expect(sortKeys(all)).toEqual(all.toSorted(compareKeys));
      }),
    );
  });

  test('when an object was created is remembered over its versions, and forgotten with it', () => {
    const store = new ObjectStore();
    store.set(pod('a', 11), 11);
    store.set(pod('a', 12));
    store.set(pod('a', 13), 13);
    expect(store.find('default/a')).toMatchObject({ object: { rv: 13 }, born: 11 });
    store.set(pod('a', 14, { uid: 'uid-2' }), 14);
    expect(store.find('default/a')?.born).toBe(14);
    expect(store.delete('default/a')).toMatchObject({ object: { rv: 14 }, born: 14 });
    store.set(pod('a', 15));
    expect(store.find('default/a')?.born, 'not known').toBe(0);
    expect(store.delete('default/b')).toBeUndefined();
  });

  test('objects are found by their indexed value, in key order', () => {
    const store = new ObjectStore();
    for (const name of ['c', 'a', 'b']) store.set(pod(name, 1, { node: 'n1' }));
    store.set(pod('d', 1));
    expect(store.keysOf('n1')).toEqual(['default/a', 'default/b', 'default/c']);
    expect(store.keysOf('')).toEqual([]);
    store.set(pod('d', 2, { node: 'n1' }));
    store.set(pod('a', 2, { node: 'n2' }));
    store.delete('default/b');
    expect([store.keysOf('n1'), store.keysOf('n2')]).toEqual([['default/c', 'default/d'], ['default/a']]);
  });

  test('any sequence of puts, deletes and snapshots equals the same on a plain map', () => {
    const step = fc.record({
      kind: fc.constantFrom('set', 'set', 'set', 'delete', 'snapshot'),
      name: fc.integer({ min: 0, max: 1500 }),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 3000 }), (steps) => {
        const store = new ObjectStore();
        const model = new Map<string, number>();
        const snapshots: [ReturnType<ObjectStore['snapshot']>, Map<string, number>][] = [];
        for (const [rv, { kind, name }] of steps.entries()) {
          const object = pod(`p${name}`, rv + 1);
          if (kind === 'set') {
            assert.equal(store.set(object, rv + 1)?.rv, model.get(object.key));
            model.set(object.key, rv + 1);
          } else if (kind === 'delete') {
            assert.equal(store.delete(object.key)?.object.rv, model.get(object.key));
            model.delete(object.key);
          } else if (snapshots.length < 5) {
            snapshots.push([store.snapshot(), new Map(model)]);
          }
        }
        snapshots.push([store.snapshot(), model]);
        for (const [snapshot, expected] of snapshots) {
          const found = [...snapshot.range()].map(({ key, rv }) => [key, rv]);
          expect(found).toEqual([...expected].sort(([a], [b]) => compareKeys(a, b)));
          const half = steps.length >>> 1;
          for (const prefix of ['', 'default/p1', 'default/p99', 'x']) {
            const newer: unknown[] = [];
            snapshot.visitNewer(half, prefix, ({ key, rv }, born) => {
              newer.push([key, rv]);
              assert(born <= rv && expected.get(key) === rv);
            });
            expect(newer).toEqual(found.filter(([key, rv]) => String(key).startsWith(prefix) && Number(rv) > half));
          }
        }
        expect(store.size).toBe(model.size);
      }),
      { numRuns: 30 },
    );
  });
});
