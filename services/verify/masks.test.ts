import { bytesField, stringField, varintField } from '@dogwatch/kube/proto-wire.ts';
import { wrapUnknown } from '@dogwatch/kube/runtime-unknown.ts';
import { describe, expect, test } from 'vitest';
import { maskAges, maskBookmark, maskList, maskMinted, maskStatus, maskTableEvent } from './masks.ts';

const RANGE = { from: 5, to: 20 };
const token = (rv: number, start: string): string =>
  Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv, start })).toString('base64url');

function protobufList(version: string, continuation = ''): Buffer {
  const meta = [stringField(1, ''), stringField(2, version), stringField(3, continuation), varintField(4, 3)];
  return wrapUnknown(
    { kind: 'PodList', apiVersion: 'v1' },
    Buffer.concat([bytesField(1, ...meta), stringField(2, 'i')]),
  );
}

/** Lists of one object at a version, in every form. */
const FORMS: readonly (readonly [string, (version: string, continuation?: string) => Buffer])[] = [
  [
    'typed JSON',
    (version, continuation = '') =>
      Buffer.from(
        `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"${version}"${continuation && `,"continue":"${continuation}"`}},"items":[{"metadata":{"name":"a","resourceVersion":"7"}}]}\n`,
      ),
  ],
  [
    'JSON of custom resources',
    (version, continuation = '') =>
      Buffer.from(
        `{"apiVersion":"example.com/v1","items":[{"metadata":{"name":"a","resourceVersion":"7"}}],"kind":"WidgetList","metadata":{"continue":"${continuation}","resourceVersion":"${version}"}}\n`,
      ),
  ],
  [
    'pretty JSON',
    (version) =>
      Buffer.from(
        `{\n  "kind": "PodList",\n  "apiVersion": "v1",\n  "metadata": {\n    "resourceVersion": "${version}"\n  },\n  "items": []\n}`,
      ),
  ],
  [
    'YAML',
    (version) =>
      Buffer.from(
        `apiVersion: v1\nitems:\n- metadata:\n    resourceVersion: "7"\nkind: PodList\nmetadata:\n  resourceVersion: "${version}"\n`,
      ),
  ],
  ['protobuf', protobufList],
];

describe.each(FORMS)('a list in %s', (_, listAt) => {
  test('differs no more at another version', () => {
    const [a, b] = [maskList(listAt('8'), RANGE), maskList(listAt('15'), RANGE)];
    expect(a?.bytes.equals(b?.bytes ?? Buffer.alloc(0))).toBe(true);
    expect(a?.ids).toContain('list version');
  });

  test.each(['4', '21', 'x'])('keeps the version %s, which is out of range', (version) => {
    expect(maskList(listAt(version), RANGE)).toBeUndefined();
  });

  test('keeps its version where it must be exact', () => {
    expect(maskList(listAt('8'), undefined)).toBeUndefined();
  });
});

describe.each(FORMS.filter(([name]) => !/pretty|YAML/.test(name)))('a page in %s', (_, listAt) => {
  test('has a token that is as good with a slash and without', () => {
    const [a, b] = ['/ns/a\u0000', 'ns/a\u0000'].map((start) => maskList(listAt('8', token(8, start)), undefined));
    expect(a?.bytes.equals(b?.bytes ?? Buffer.alloc(0))).toBe(true);
    expect(a?.ids).toEqual(['token form']);
  });

  test('has a token of its own version', () => {
    const [a, b] = [8, 15].map((rv) => maskList(listAt(String(rv), token(rv, 'a\u0000')), RANGE));
    expect(a?.bytes.equals(b?.bytes ?? Buffer.alloc(0))).toBe(true);
    const foreign = maskList(listAt('8', token(9, 'a\u0000')), RANGE);
    expect(a?.bytes.equals(foreign?.bytes ?? Buffer.alloc(0))).toBe(false);
  });

  test('goes on at one key', () => {
    const [a, b] = ['a\u0000', 'b\u0000'].map((start) => maskList(listAt('8', token(8, start)), RANGE));
    expect(a?.bytes.equals(b?.bytes ?? Buffer.alloc(0))).toBe(false);
  });
});

test('one object is no list: its version counts', () => {
  const pod = Buffer.from('{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"7"}}\n');
  expect(maskList(pod, RANGE)).toBeUndefined();
});

test('bookmarks differ by their version only, in protobuf with another number of digits too', () => {
  const protobuf = (version: string): Buffer =>
    wrapUnknown(
      { kind: 'Pod', apiVersion: 'v1' },
      Buffer.concat([
        bytesField(1, stringField(1, ''), stringField(6, version)),
        bytesField(2, stringField(1, 'spec')),
      ]),
    );
  expect(maskBookmark('protobuf', protobuf('9'), RANGE)).toEqual(maskBookmark('protobuf', protobuf('12'), RANGE));
  expect(maskBookmark('protobuf', protobuf('9'), RANGE)).not.toEqual(maskBookmark('protobuf', protobuf('21'), RANGE));
  const json = (version: string, more = ''): Buffer =>
    Buffer.from(`{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"${version}"${more}}}`);
  expect(maskBookmark('json', json('9'), RANGE)).toEqual(maskBookmark('json', json('12'), RANGE));
  expect(maskBookmark('json', json('9'), RANGE)).not.toEqual(maskBookmark('json', json('9', ',"uid":"x"'), RANGE));
});

test.each([
  ['Too large resource version: 99, current: 7', 'Too large resource version: 99, current: VERSION'],
  ['too old resource version: 3 (7)', 'too old resource version: 3 (VERSION)'],
])('of a status %j only the number of the server goes', (message, masked) => {
  const status = (text: string): string => `{"kind":"Status","message":"${text}"}`;
  expect(maskStatus('json', Buffer.from(status(message)))?.bytes.toString()).toBe(status(masked));
  expect(maskStatus('json', Buffer.from(status('other')))).toBeUndefined();
});

test('of a version that is too large goes when to come again, of nothing else', () => {
  const status = (message: string, seconds: number): Buffer =>
    Buffer.from(`{"kind":"Status","message":"${message}","details":{"retryAfterSeconds":${seconds}}}`);
  const tooLarge = 'Too large resource version: 30, current: 20';
  expect(maskStatus('json', status(tooLarge, 1))).toEqual(maskStatus('json', status(tooLarge, 3)));
  expect(maskStatus('json', status(tooLarge, 1))).not.toEqual(maskStatus('json', status(tooLarge, 4)));
  expect(maskStatus('json', status('please try again', 1))).toBeUndefined();
});

test('of a Table ages go, of its events the columns too', () => {
  const table = (columns: string, age: string): Buffer =>
    Buffer.from(`{"kind":"Table","columnDefinitions":${columns},"rows":[{"cells":["a",2,"${age}"]}]}`);
  expect(maskAges(table('null', '3d4h'))?.bytes).toEqual(maskAges(table('null', '<unknown>'))?.bytes);
  expect(maskAges(table('null', 'x'))).toBeUndefined();
  expect(maskTableEvent(table('[{"name":"A"}]', '3s'))?.bytes).toEqual(maskTableEvent(table('null', '4s'))?.bytes);
});

test('of a Table in YAML ages go, too', () => {
  const table = (age: string): Buffer =>
    Buffer.from(`columnDefinitions: []\nkind: Table\nrows:\n- cells:\n  - a\n  - 1\n  - ${age}\n  object: {}\n`);
  expect(maskAges(table('23s'))?.bytes).toEqual(maskAges(table('2m4s (3m ago)'))?.bytes);
  expect(maskAges(table('b'))).toBeUndefined();
});

test('of a dry run what is minted goes', () => {
  const minted = Buffer.from(
    '{"uid":"0123abcd-0123-0123-0123-0123456789ab","creationTimestamp":"2026-01-02T03:04:05Z"}',
  );
  expect(maskMinted(minted)?.bytes.toString()).toBe('{"uid":"UID","creationTimestamp":"TIME"}');
});
