import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PrettyPrinter, prettyJson } from './pretty-json.ts';

/** `text` indented, given to the printer in pieces cut at `cuts`. */
function pretty(text: string, cuts: readonly number[] = []): string {
  const bytes = Buffer.from(text);
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  const parts = places.slice(1).map((end, index) => bytes.subarray(places[index], end));
  return Buffer.concat([...prettyJson(parts)]).toString();
}

describe('N4 indented JSON', () => {
  test('is indented by two spaces and ends without a line break', () => {
    expect(pretty('{"kind":"Pod","spec":{"containers":[{"name":"a"},1,true,null]}}\n')).toBe(
      [
        '{',
        '  "kind": "Pod",',
        '  "spec": {',
        '    "containers": [',
        '      {',
        '        "name": "a"',
        '      },',
        '      1,',
        '      true,',
        '      null',
        '    ]',
        '  }',
        '}',
      ].join('\n'),
    );
  });

  test('leaves empty objects and arrays on their line', () => {
    expect(pretty('{"a":{},"b":[],"c":[[],{}]}')).toBe('{\n  "a": {},\n  "b": [],\n  "c": [\n    [],\n    {}\n  ]\n}');
  });

  test('changes nothing in strings and numbers', () => {
    const text = String.raw`{"\u003ca\u003e":"{[:,\"\\","n":1.50e+3,"u":"grün 🐶"}`;
    expect(pretty(text)).toBe(String.raw`{
  "\u003ca\u003e": "{[:,\"\\",
  "n": 1.50e+3,
  "u": "grün 🐶"
}`);
  });

  test('is what JSON.stringify makes of any value, wherever the chunks end and whatever white space there was', () => {
    fc.assert(
      fc.property(
        fc.jsonValue({ maxDepth: 5 }),
        fc.array(fc.nat(), { maxLength: 8 }),
        fc.boolean(),
        (value, cuts, spaced) => {
          const text = spaced ? ` ${JSON.stringify(value, undefined, '\t')}\r\n` : JSON.stringify(value);
          expect(pretty(text, cuts)).toBe(JSON.stringify(value, undefined, 2));
        },
      ),
    );
  });

  test('changes nothing when done again', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        const once = pretty(text);
        expect(pretty(once)).toBe(once);
      }),
    );
  });

  test('a chunk that adds nothing gives nothing', () => {
    const printer = new PrettyPrinter();
    const push = (text: string): string[] => [...printer.push(Buffer.from(text))].map(String);
    expect([push('{'), push(' \n'), push('}')]).toEqual([['{'], [], ['}']]);
  });

  test('indentation that outgrows its input', () => {
    const depth = 600;
    const value: unknown = JSON.parse('['.repeat(depth) + '1' + ']'.repeat(depth));
    expect(pretty(JSON.stringify(value), [depth])).toBe(JSON.stringify(value, undefined, 2));
  });
});
