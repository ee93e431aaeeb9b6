import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { prettyJson } from './pretty-json.ts';
import { Random, oddIdentity, oddJson, oddJsonValue } from './test-odd-objects.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 60);

/** json.Indent with two spaces, token by token. */
function indented(text: string): string {
  const tokens = text.match(/"(?:[^"\\]|\\[^])*"|[{}[\],:]|[^\s"{}[\],:]+/gu) ?? [];
  let depth = 0;
  const line = (): string => `\n${'  '.repeat(depth)}`;
  return tokens
    .map((token, at) => {
      const before = /^[{[]$/.test(tokens[at - 1] ?? '');
      if (/^[}\]]$/.test(token)) {
        depth--;
        return before ? token : line() + token;
      }
      const lead = before ? line() : '';
      if (/^[{[]$/.test(token)) depth++;
      if (token === ',') return token + line();
      return lead + (token === ':' ? ': ' : token);
    })
    .join('');
}

function pretty(body: Buffer, stride = body.length): Buffer {
  const chunks = function* (): Generator<Buffer> {
    for (let at = 0; at < body.length; at += stride) yield body.subarray(at, at + stride);
  };
  return Buffer.concat([...prettyJson(chunks())]);
}

describe('N4 indented JSON', () => {
  test('of any odd object changes nothing but white space, wherever the chunks end', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 50 }), (seed, stride) => {
        const random = new Random(seed);
        // Between tokens only: in strings a line feed is escaped.
        const body = Buffer.from(oddJson(random, oddIdentity(random)).toString().replaceAll('\t', '\n'));
        const expected = indented(body.toString());
        expect(pretty(body).toString()).toBe(expected);
        expect(pretty(body, 1).toString()).toBe(expected);
        expect(pretty(body, stride).toString()).toBe(expected);
      }),
      { numRuns },
    );
  });

  test('of what is no JSON ends too, in the same bytes however it is cut', () => {
    fc.assert(
      fc.property(fc.integer(), fc.uint8Array({ maxLength: 30 }), (seed, noise) => {
        const text = Buffer.from(oddJsonValue(new Random(seed)));
        const body = Buffer.concat([text.subarray(noise.length), noise, Buffer.from(']}{"'), text]);
        expect(pretty(body, 1)).toEqual(pretty(body));
      }),
      { numRuns },
    );
  });

  test('I9: of an object ten thousand deep is made in pieces, not a gigabyte at once', () => {
    const depth = 10_000;
    const numbers = '1,'.repeat(100_000);
    const body = Buffer.from(`${'['.repeat(depth)}${numbers}1${']'.repeat(depth)}`);
    let [most, lines] = [0, 0];
    for (const piece of prettyJson([body])) {
      most = Math.max(most, piece.buffer.byteLength);
      // The first twelve megabytes of two thousand: nothing of the rest is made before it is asked for.
      lines += piece.length;
      if (lines > 12 * 2 ** 20) break;
    }
    expect(lines).toBeGreaterThan(12 * 2 ** 20);
    expect(most).toBeLessThan(512 * 1024);
  });

  test('of a string of 1.5 MB comes whole', () => {
    const text = JSON.stringify({ data: '\\"😀\u2028'.repeat(150_000), after: [] });
    expect(pretty(Buffer.from(text)).toString()).toBe(JSON.stringify(JSON.parse(text), undefined, 2));
  });
});
