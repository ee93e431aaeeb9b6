import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { QueryParameters } from './query-parameters.ts';

describe('a query', () => {
  test('is decoded: plus is a space, percent signs begin UTF-8', () => {
    const query = QueryParameters.parse('labelSelector=a+in+%28b%2Cc%29&name=%C3%A9&empty=&bare');
    expect(query.get('labelSelector')).toBe('a in (b,c)');
    expect(query.get('name')).toBe('é');
    expect(query.get('empty')).toBe('');
    expect(query.get('bare')).toBe('');
    expect(query.get('missing')).toBeUndefined();
    expect(query.defect).toBeUndefined();
  });

  test('counts the first of several values, also where names are encoded differently', () => {
    const query = QueryParameters.parse('watch=0&w%61tch=1&limit=5');
    expect(query.get('watch')).toBe('0');
    expect(query.isRepeated('watch')).toBe(true);
    expect(query.isRepeated('limit')).toBe(false);
  });

  test.each(['a=%zz', 'a=%', 'a=%ff', 'a;b=1', 'a=é', 'a=b c', 'a=\u007f'])(
    'loses a pair Go drops or reads as other bytes, and says so: %j',
    (text) => {
      const query = QueryParameters.parse(`x=1&${text}&y=2`);
      expect(query.get('a')).toBeUndefined();
      expect([query.get('x'), query.get('y')]).toEqual(['1', '2']);
      expect(query.defect).toMatch(/^a (semicolon|character|percent sign) in the query/);
    },
  );
});

test('what was encoded comes out again', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (name, value) => {
      const query = QueryParameters.parse(`${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
      expect(query.get(name)).toBe(value);
      expect(query.defect).toBeUndefined();
    }),
  );
});
