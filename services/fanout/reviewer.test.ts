import { Readable } from 'node:stream';
import { UpstreamInterrupted } from '@dogwatch/upstream/upstream-error.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { expect, test } from 'vitest';
import { ReviewUnavailable, Reviewer } from './reviewer.ts';

/** An upstream that loses the connection under the first `losses` reviews. */
function upstreamThatLoses(losses: number): { upstream: Upstream; asked: () => number } {
  let asked = 0;
  const open: Upstream['open'] = () => {
    asked += 1;
    if (asked <= losses) return Promise.reject(new UpstreamInterrupted('connection lost'));
    const body = Readable.from([Buffer.from(JSON.stringify({ status: { allowed: true } }))]);
    return Promise.resolve({ status: 201, headers: { 'content-type': 'application/json' }, body });
  };
  return { upstream: { open } as Upstream, asked: () => asked };
}

function reviewer(upstream: Upstream): Reviewer {
  return new Reviewer({ upstream, kind: 'SubjectAccessReview', maxConcurrent: 4, maxWaiting: 4, now: () => 0 });
}

test('a question under which the connection was lost is asked once more', async () => {
  const { upstream, asked } = upstreamThatLoses(1);
  expect(await reviewer(upstream).review({})).toEqual({ allowed: true });
  expect(asked()).toBe(2);
});

test('but not for ever: I7, without an answer nothing is known', async () => {
  const { upstream, asked } = upstreamThatLoses(9);
  await expect(reviewer(upstream).review({})).rejects.toBeInstanceOf(ReviewUnavailable);
  expect(asked()).toBe(2);
});
