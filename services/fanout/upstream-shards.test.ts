import { expect, test } from 'vitest';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { stubUpstream, type StubAnswer } from './test-upstream.ts';
import { UpstreamShards } from './upstream-shards.ts';

function started(first: StubAnswer) {
  const clock = createFakeClock();
  const lines: string[] = [];
  const log = createLogger({ level: 'warn', pretty: false, destination: { write: (line) => lines.push(line) } });
  const upstream = stubUpstream(() => first);
  return { clock, upstream, lines, shards: new UpstreamShards({ upstream, clock, log }) };
}

const list = (metadata: object): StubAnswer => ({ code: 200, body: JSON.stringify({ metadata }) });

test('G2: upstream is asked for a part, once a minute however many want to know', async () => {
  const { clock, upstream, shards } = started(list({ shardInfo: { selector: 'x' } }));
  expect(await Promise.all([shards.knows(), shards.knows()])).toEqual([true, true]);
  expect(upstream.asked.map(({ path }) => new URL(path, upstream.server).searchParams.get('limit'))).toEqual(['1']);
  upstream.answer = () => list({});
  clock.advance(59_999);
  expect(await shards.knows()).toBe(true);
  clock.advance(1);
  expect(await shards.knows()).toBe(false);
  expect(upstream.asked).toHaveLength(2);
});

test.each([
  ['an answer without it', list({}), 0],
  ['a refusal', { code: 403, body: '{}' }, 0],
  ['no JSON', { code: 200, body: '<html>' }, 1],
])('G2: %s is a no', async (_, answer, warnings) => {
  const { shards, lines } = started(answer);
  expect(await shards.knows()).toBe(false);
  expect(lines).toHaveLength(warnings);
});

test('G2: where it cannot be asked, it is asked again for the next who wants to know', async () => {
  const { shards, upstream, lines } = started(list({ shardInfo: {} }));
  const { answer } = upstream;
  upstream.answer = () => Promise.reject(new Error('ECONNREFUSED'));
  expect(await shards.knows()).toBe(false);
  expect(lines).toHaveLength(1);
  upstream.answer = answer;
  expect(await shards.knows()).toBe(true);
});
