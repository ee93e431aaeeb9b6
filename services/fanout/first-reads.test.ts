import { describe, expect, test } from 'vitest';
import { parseApiRequest } from '@dogwatch/kube/api-request.ts';
import { FirstReads } from './first-reads.ts';
import { type GetPlan, type ListPlan, planOf } from './plan.ts';

const INFO = { kind: 'Any', namespaced: true, watchable: true, local: true, custom: false };
const SHARD = `shardSelector=${encodeURIComponent("shardRange(object.metadata.uid, '0x0000000000000000', '0x8000000000000000')")}`;

function started() {
  let now = 1_000;
  const reads = new FirstReads(() => now);
  const opens = (url: string, accept?: string): boolean =>
    reads.opens(planOf(parseApiRequest('GET', url), { accept, userAgent: undefined }, INFO) as ListPlan | GetPlan);
  return { opens, pass: (ms: number) => (now += ms) };
}

describe('a lane that is not open is opened', () => {
  test.each(['/api/v1/pods', '/api/v1/pods?limit=5', '/api/v1/namespaces/a/pods/p?resourceVersion=0'])(
    'by the second read of it: %s',
    (url) => {
      const { opens } = started();
      expect([opens(url), opens(url), opens(url)]).toEqual([false, true, true]);
    },
  );

  test('whoever reads, and whatever of it', () => {
    const { opens } = started();
    expect(opens('/api/v1/namespaces/a/pods')).toBe(false);
    expect(opens('/api/v1/namespaces/b/pods?labelSelector=app')).toBe(true);
  });

  test('but not if the first read was of another lane, or five seconds ago', () => {
    const { opens, pass } = started();
    opens('/api/v1/pods');
    expect(opens('/api/v1/secrets')).toBe(false);
    expect(opens('/api/v1/pods', 'application/vnd.kubernetes.protobuf')).toBe(false);
    pass(5_000);
    expect(opens('/api/v1/pods')).toBe(false);
    pass(4_999);
    expect(opens('/api/v1/pods')).toBe(true);
  });

  test.each(['resourceVersion=0', 'resourceVersion=7', SHARD])(
    'at once by a list that a watch follows, or that upstream may not know: %s',
    (query) => {
      expect(started().opens(`/api/v1/pods?${query}`)).toBe(true);
    },
  );

  test('never by past states, which do not count either', () => {
    const { opens } = started();
    const past = '/api/v1/pods?resourceVersion=7&resourceVersionMatch=Exact';
    expect([opens(past), opens(past), opens('/api/v1/pods')]).toEqual([false, false, false]);
  });

  test('lanes that were read are remembered up to a bound, the latest of them', () => {
    const { opens } = started();
    for (let n = 0; n <= 1_000; n++) opens(`/api/v1/r${n}`);
    expect([opens('/api/v1/r1000'), opens('/api/v1/r1'), opens('/api/v1/r0')]).toEqual([true, true, false]);
  });
});
