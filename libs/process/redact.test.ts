import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { redactFields, redactText } from './redact.ts';

const CANARY = 'canary-7f3a91';
const JWT = 'eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl';
const PEM = `-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE${CANARY}\n-----END EC PRIVATE KEY-----\n`;

describe('redactFields', () => {
  test('returns the same object when there is nothing to hide', () => {
    const fields = { lane: 'core/v1/pods', watch: { rv: 17, names: ['a', 'b'] }, url: new URL('https://127.0.0.1/') };
    expect(redactFields(fields)).toBe(fields);
  });

  test('hides secret fields at any depth, in arrays too, whatever their case, and leaves the original alone', () => {
    const fields = { a: [{ request: { headers: { Authorization: CANARY, accept: '*/*' } } }], privateKey: CANARY };
    expect(redactFields(fields)).toEqual({
      a: [{ request: { headers: { Authorization: '[redacted]', accept: '*/*' } } }],
      privateKey: '[redacted]',
    });
    expect(fields.privateKey).toBe(CANARY);
  });

  test('hides the content of a Secret', () => {
    const secret = { kind: 'Secret', metadata: { name: 's' }, data: { password: CANARY }, stringData: { a: CANARY } };
    expect(JSON.stringify(redactFields({ object: secret }))).not.toContain(CANARY);
  });

  test('replaces whole what lies deeper than it searches, cycles included', () => {
    const cycle: Record<string, unknown> = { name: 'c' };
    cycle['self'] = cycle;
    expect(JSON.stringify(redactFields(cycle))).toContain('[redacted]');
  });

  test('no value below a secret field survives, wherever the field is', () => {
    const name = fc.constantFrom('token', 'Authorization', 'data', 'clientKey', 'Set-Cookie');
    const shape = fc.letrec((tie) => ({
      node: fc.oneof(
        { depthSize: 'small' },
        tie('leaf'),
        fc.dictionary(fc.string(), tie('node')),
        fc.array(tie('node')),
      ),
      leaf: fc.dictionary(name, fc.constantFrom(CANARY, { deep: CANARY }, [CANARY]), { minKeys: 1 }),
    }));
    fc.assert(
      fc.property(shape.node, (node) => {
        expect(JSON.stringify(redactFields({ node }))).not.toContain(CANARY);
      }),
    );
  });
});

test('bytes are never shown: a request that cannot be parsed comes with its token', () => {
  const rawPacket = Buffer.from(`GET / HTTP/1.1\r\nAuthorization: Bearer ${CANARY}\r\nbad header\r\n\r\n`);
  expect(redactFields({ err: { code: 'HPE_INVALID_HEADER_TOKEN', rawPacket } })).toEqual({
    err: { code: 'HPE_INVALID_HEADER_TOKEN', rawPacket: '[redacted]' },
  });
});

describe('redactText', () => {
  test.each([
    [
      'a bearer header',
      `"msg":"sent Authorization: Bearer ${CANARY}"`,
      '"msg":"sent Authorization: Bearer [redacted]"',
    ],
    ['basic credentials', '"msg":"Basic dXNlcjpwYXNz"', '"msg":"Basic [redacted]"'],
    ['a JSON web token', `"msg":"token=${JWT} refused"`, '"msg":"token=[redacted] refused"'],
    ['a secret field', `{"Token":"a\\"${CANARY}","n":1}`, '{"Token":"[redacted]","n":1}'],
    [
      'a secret field of quoted JSON',
      JSON.stringify({ msg: JSON.stringify({ token: `a"${CANARY}`, n: 1 }) }),
      '{"msg":"{\\"token\\":\\"[redacted]\\",\\"n\\":1}"}',
    ],
  ])('%s', (_, line, expected) => {
    expect(redactText(line)).toBe(expected);
  });

  test('a private key, also inside JSON inside JSON, and the line stays JSON', () => {
    for (const line of [{ msg: PEM }, { msg: JSON.stringify({ pem: PEM }), after: 1 }, { msg: PEM.slice(0, 60) }]) {
      const text = redactText(JSON.stringify(line));
      expect(text).not.toContain(CANARY);
      expect(() => JSON.parse(text) as unknown).not.toThrow();
    }
  });

  test('text without a credential is left as it is, and JSON stays JSON', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.integer())), (fields) => {
        const line = JSON.stringify(fields);
        expect(Object.keys(JSON.parse(redactText(line)) as object).length).toBe(Object.keys(fields).length);
      }),
    );
    expect(redactText('{"msg":"bearer of good news"}')).toBe('{"msg":"bearer [redacted] good news"}');
  });
});
