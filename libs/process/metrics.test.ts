import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createMetrics, LAG_BUCKETS, MAX_SERIES, type Metrics } from './metrics.ts';
import { version } from './version.ts';

/** The sample lines of one metric, in order. */
async function samples(metrics: Metrics, name: string): Promise<string[]> {
  const lines = (await metrics.text()).split('\n');
  return lines.filter((line) => line.startsWith(name) && /^[{ _]/.test(line.slice(name.length)));
}

describe('counter', () => {
  test('is a plain number, prefixed, with help and type', async () => {
    const metrics = createMetrics();
    const sent = metrics.counter({ name: 'events_sent_total', help: 'Events sent.', labels: ['group', 'resource'] });
    const pods = sent.labels({ group: '', resource: 'pods' });
    pods.value += 2;
    sent.labels({ group: '', resource: 'pods' }).value += 1;
    sent.labels({ group: 'apps', resource: 'deployments' }).value += 5;
    expect(await samples(metrics, 'dogwatch_events_sent_total')).toEqual([
      'dogwatch_events_sent_total{group="",resource="pods"} 3',
      'dogwatch_events_sent_total{group="apps",resource="deployments"} 5',
    ]);
    expect(await metrics.text()).toContain(
      '# HELP dogwatch_events_sent_total Events sent.\n# TYPE dogwatch_events_sent_total counter\n',
    );
  });

  test('without labels it shows 0 before it first counts', async () => {
    const metrics = createMetrics();
    metrics.counter({ name: 'drops_total', help: 'h' });
    expect(await samples(metrics, 'dogwatch_drops_total')).toEqual(['dogwatch_drops_total 0']);
  });

  test('a removed series is gone', async () => {
    const metrics = createMetrics();
    const sent = metrics.counter({ name: 'sent_total', help: 'h', labels: ['lane'] });
    sent.labels({ lane: 'a' }).value += 1;
    sent.labels({ lane: 'b' }).value += 1;
    sent.remove({ lane: 'a' });
    expect(await samples(metrics, 'dogwatch_sent_total')).toEqual(['dogwatch_sent_total{lane="b"} 1']);
  });

  test('label values are escaped', async () => {
    const metrics = createMetrics();
    metrics.counter({ name: 'odd_total', help: 'h', labels: ['why'] }).labels({ why: 'a "b"\n\\' }).value = 1;
    expect(await samples(metrics, 'dogwatch_odd_total')).toEqual([String.raw`dogwatch_odd_total{why="a \"b\"\n\\"} 1`]);
  });
});

describe('collect', () => {
  test('runs at each scrape and shows only what it set', async () => {
    const metrics = createMetrics();
    let lanes = ['pods', 'leases'];
    metrics.gauge({
      name: 'lane_objects',
      help: 'h',
      labels: ['resource'],
      collect: (gauge) => lanes.forEach((resource, i) => (gauge.labels({ resource }).value = i)),
    });
    expect(await samples(metrics, 'dogwatch_lane_objects')).toHaveLength(2);
    lanes = ['pods'];
    expect(await samples(metrics, 'dogwatch_lane_objects')).toEqual(['dogwatch_lane_objects{resource="pods"} 0']);
  });

  test('reads a hot counter that is a field elsewhere', async () => {
    const metrics = createMetrics();
    const source = { chunks: 0 };
    metrics.counter({
      name: 'chunks_total',
      help: 'h',
      collect: (counter) => (counter.labels({}).value = source.chunks),
    });
    source.chunks = 41;
    expect(await samples(metrics, 'dogwatch_chunks_total')).toEqual(['dogwatch_chunks_total 41']);
  });
});

describe('histogram', () => {
  test('counts into cumulative buckets, bounds included, with sum and count', async () => {
    const metrics = createMetrics();
    const lag = metrics.histogram({ name: 'lag_seconds', help: 'h', buckets: [0.1, 1] }).labels({});
    lag.observe(0.1);
    lag.observe(0.5, 3);
    lag.observe(7);
    expect(await samples(metrics, 'dogwatch_lag_seconds')).toEqual([
      'dogwatch_lag_seconds_bucket{le="0.1"} 1',
      'dogwatch_lag_seconds_bucket{le="1"} 4',
      'dogwatch_lag_seconds_bucket{le="+Inf"} 5',
      'dogwatch_lag_seconds_sum 8.6',
      'dogwatch_lag_seconds_count 5',
    ]);
  });

  test('each bucket holds exactly the values up to its bound', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.double({ min: 0, max: 20, noNaN: true }), { maxLength: 50 }), async (values) => {
        const metrics = createMetrics();
        const lag = metrics.histogram({ name: 'lag_seconds', help: 'h', buckets: LAG_BUCKETS }).labels({});
        for (const value of values) lag.observe(value);
        const counts = (await samples(metrics, 'dogwatch_lag_seconds_bucket')).map((line) =>
          Number(line.split(' ')[1]),
        );
        expect(counts).toEqual(
          [...LAG_BUCKETS, Infinity].map((bound) => values.filter((value) => value <= bound).length),
        );
      }),
      { numRuns: 20 },
    );
  });
});

test('series beyond the bound share one whose labels read overflow', async () => {
  const metrics = createMetrics();
  const family = metrics.counter({ name: 'leaky_total', help: 'h', labels: ['id'] });
  for (let i = 0; i < MAX_SERIES + 50; i++) family.labels({ id: String(i) }).value += 1;
  const lines = await samples(metrics, 'dogwatch_leaky_total');
  expect(lines).toHaveLength(MAX_SERIES + 1);
  expect(lines.at(-1)).toBe('dogwatch_leaky_total{id="overflow"} 50');
});

test('names that break the conventions, or are taken, are refused', () => {
  const metrics = createMetrics();
  expect(() => metrics.counter({ name: 'events', help: 'h' })).toThrow(/_total/);
  expect(() => metrics.gauge({ name: 'events_total', help: 'h' })).toThrow(/_total/);
  expect(() => metrics.gauge({ name: 'Events', help: 'h' })).toThrow(/snake case/);
  expect(() => metrics.gauge({ name: 'build_info', help: 'h' })).toThrow(/already been registered/);
  expect(() => metrics.histogram({ name: 'h_seconds', help: 'h', buckets: [1, 1] })).toThrow(/ascend/);
});

test('says which build runs, how the process does and how late its event loop is', async () => {
  const metrics = createMetrics();
  const text = await metrics.text();
  expect(text).toContain(`dogwatch_build_info{version="${version}",node="${process.version}"} 1`);
  expect(text).toMatch(/^process_resident_memory_bytes \d+$/m);
  expect(text).toMatch(/^process_cpu_seconds_total /m);
  expect(metrics.contentType).toMatch(/^text\/plain/);
});

test('a blocked event loop shows in the lag', async () => {
  const metrics = createMetrics();
  // The monitor starts with the loop: two ticks around the block give it a before and an after.
  await new Promise((resolve) => setTimeout(resolve, 50));
  const until = performance.now() + 120;
  while (performance.now() < until);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const [worst] = (await samples(metrics, 'dogwatch_eventloop_lag_seconds')).slice(-1);
  expect(worst).toMatch(/quantile="1"/);
  expect(Number(worst?.split(' ')[1])).toBeGreaterThan(0.05);
});
