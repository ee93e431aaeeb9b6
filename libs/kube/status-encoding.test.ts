import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { statusJson, statusObjectJson, statusPrettyJson, statusProtobuf } from './status-encoding.ts';
import { decodeStatusProtobuf } from './status-protobuf.ts';
import type { StatusBody } from './status.ts';

const text = fc.string({ unit: 'grapheme', maxLength: 5 });
const body: fc.Arbitrary<StatusBody> = fc.record(
  {
    status: fc.constantFrom('Failure' as const, 'Success' as const),
    metadata: fc.record({ continue: fc.stringMatching(/^\w{1,4}$/) }),
    message: text,
    reason: text,
    details: fc.record(
      {
        name: text,
        group: text,
        kind: text,
        uid: text,
        causes: fc.array(fc.record({ reason: text, message: text, field: text }), { minLength: 1, maxLength: 3 }),
        retryAfterSeconds: fc.nat(),
      },
      { requiredKeys: [] },
    ),
    code: fc.integer({ min: 100, max: 599 }),
  },
  { requiredKeys: ['status'] },
);

describe('a random status', () => {
  test('survives protobuf', () => {
    fc.assert(
      fc.property(body, (status) => {
        expect(statusObjectJson(decodeStatusProtobuf(statusProtobuf(status)))).toBe(statusObjectJson(status));
      }),
    );
  });

  test('is the same in all forms of JSON, in upstream order, with nothing in it that a browser would run', () => {
    const order = ['kind', 'apiVersion', 'metadata', 'status', 'message', 'reason', 'details', 'code'];
    fc.assert(
      fc.property(body, (status) => {
        const compact = statusJson(status);
        const parsed = JSON.parse(compact) as Record<string, unknown>;
        expect(JSON.parse(statusPrettyJson(status))).toEqual(parsed);
        expect(Object.keys(parsed)).toEqual(order.filter((key) => key in parsed));
        expect(compact).not.toMatch(/[<>&\u2028\u2029]/);
        expect(compact).toBe(`${statusObjectJson(status)}\n`);
      }),
    );
  });
});
