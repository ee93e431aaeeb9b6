import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeContinue, parseContinue } from './continue-token.ts';

/** A token as Go's encoding/json and base64.RawURLEncoding would make it of this text. */
const token = (json: string): string => Buffer.from(json).toString('base64url');

describe('L13: continue tokens', () => {
  test("upstream's watch cache writes a slash first, its etcd store none, and either is read", () => {
    const cached = token('{"v":"meta.k8s.io/v1","rv":4711,"start":"/default/web-0\\u0000"}');
    const stored = token('{"v":"meta.k8s.io/v1","rv":4711,"start":"default/web-0\\u0000"}');
    expect(encodeContinue('default/web-0', 4711, true)).toBe(cached);
    expect(encodeContinue('default/web-0', 4711, false)).toBe(stored);
    for (const text of [cached, stored]) expect(parseContinue(text)).toEqual({ rv: 4711, start: 'default/web-0\0' });
  });

  test('a negative version is the newest state (L12)', () => {
    expect(parseContinue(token('{"v":"meta.k8s.io/v1","rv":-1,"start":"a\\u0000"}'))).toEqual({ rv: -1, start: 'a\0' });
  });

  test('characters are escaped as Go escapes them', () => {
    const written = Buffer.from(encodeContinue('system:<a>&\u2028é', 7, false), 'base64url').toString();
    expect(written).toBe('{"v":"meta.k8s.io/v1","rv":7,"start":"system:\\u003ca\\u003e\\u0026\\u2028é\\u0000"}');
  });

  test.each([
    ['no base64', '!!'],
    ['no JSON', token('a')],
    ['null', token('null')],
    ['version 0', token('{"v":"meta.k8s.io/v1","rv":0,"start":"a"}')],
    ['a version that is no integer', token('{"v":"meta.k8s.io/v1","rv":1.5,"start":"a"}')],
    ['a version beyond what can be counted to', token('{"v":"meta.k8s.io/v1","rv":9007199254740993,"start":"a"}')],
    ['no start', token('{"v":"meta.k8s.io/v1","rv":1,"start":""}')],
    ['another format', token('{"v":"meta.k8s.io/v2","rv":1,"start":"a"}')],
    ['half a character', token('{"v":"meta.k8s.io/v1","rv":1,"start":"\\ud800"}')],
    ['a way up', token('{"v":"meta.k8s.io/v1","rv":1,"start":"../a"}')],
    ['a way to nowhere', token('{"v":"meta.k8s.io/v1","rv":1,"start":"/a//b"}')],
    ['other white space', token('{"v":"meta.k8s.io/v1", "rv":1,"start":"a"}')],
    ['another key beside', token('{"v":"meta.k8s.io/v1","rv":1,"start":"a","x":1}')],
    ['padding', `${token('{"v":"meta.k8s.io/v1","rv":1,"start":"ab"}')}=`],
  ])('L8: %s is upstream’s to judge', (_, text) => {
    expect(parseContinue(text)).toBeUndefined();
  });

  test('what is written is read', () => {
    const segment = fc.string({ minLength: 1, unit: 'grapheme' }).filter((text) => !/^\.{1,2}$|\//.test(text));
    fc.assert(
      fc.property(
        segment,
        fc.nat().map((rv) => rv + 1),
        fc.boolean(),
        (name, rv, slash) => {
          expect(parseContinue(encodeContinue(`ns/${name}`, rv, slash))).toEqual({ rv, start: `ns/${name}\0` });
        },
      ),
    );
  });
});
