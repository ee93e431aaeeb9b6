import assert from 'node:assert';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { collectDefaultMetrics, type Metric, Registry } from 'prom-client';
import { version } from './version.ts';

/** A count that only grows. Hot paths write `counter.value += n`; it is read when somebody scrapes. */
export interface Counter {
  value: number;
}

/** A value that goes up and down. */
export interface Gauge {
  value: number;
}

/** A distribution over fixed buckets. */
export interface Histogram {
  /** Counts `value`, `times` over (default 1). About 10 ns. */
  observe(value: number, times?: number): void;
}

/** The series of one metric, one per set of label values. */
export interface Family<Series, Label extends string> {
  /** The series of these label values, made on first use. Keep it: looking it up again is for cold paths. */
  labels(values: Readonly<Record<Label, string>>): Series;
  /** Drops a series, as when a lane closes. */
  remove(values: Readonly<Record<Label, string>>): void;
}

/**
 * `name` gets the prefix `dogwatch_`; units are base units in the name (`_seconds`, `_bytes`), counters end in
 * `_total`. Label values must come from small closed sets: never names of objects or of users.
 */
export interface MetricOptions<Series, Label extends string> {
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly Label[];
  /** Runs at each scrape with all series removed, and sets the values of those that exist. */
  readonly collect?: (family: Family<Series, Label>) => void;
}

export interface HistogramOptions<Label extends string> {
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly Label[];
  /** Upper bounds, ascending; +Inf is added. */
  readonly buckets: readonly number[];
}

export interface Metrics {
  counter<Label extends string = never>(options: MetricOptions<Counter, Label>): Family<Counter, Label>;
  gauge<Label extends string = never>(options: MetricOptions<Gauge, Label>): Family<Gauge, Label>;
  histogram<Label extends string = never>(options: HistogramOptions<Label>): Family<Histogram, Label>;
  /** Everything in the Prometheus text format. */
  text(): Promise<string>;
  readonly contentType: string;
}

/** Most series of one metric; what comes beyond shares one series whose labels all read `overflow`. */
export const MAX_SERIES = 10_000;

/** Buckets for delays within a process or a cluster, 0.1 ms to 10 s. */
export const LAG_BUCKETS: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

/**
 * A registry of its own, with process_*, nodejs_*, dogwatch_build_info and dogwatch_eventloop_lag_seconds in it.
 * prom-client hashes label values on every increment, which costs more than delivering an event; so series are plain
 * numbers held by whoever counts, and prom-client sees them at scrape time only.
 */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const register = <Series, Label extends string>(
    { name, help, labels = [] }: { name: string; help: string; labels?: readonly Label[] },
    kind: Kind<Series>,
    collect?: (family: Family<Series, Label>) => void,
  ): Family<Series, Label> => {
    assert.match(name, /^[a-z][a-z0-9]*(_[a-z0-9]+)*$/, 'metric names are snake case');
    assert(name.endsWith('_total') === (kind.type === 'counter'), `${name}: counters, and only they, end in _total`);
    const family = new SeriesFamily<Series, Label>({ name: `dogwatch_${name}`, help, labels, kind, collect });
    // prom-client wants one of its own classes but calls only `name` and `get()`.
    registry.registerMetric(family as unknown as Metric);
    return family;
  };
  const metrics: Metrics = {
    counter: (options) => register(options, COUNTER, options.collect),
    gauge: (options) => register(options, GAUGE, options.collect),
    histogram: (options) => register(options, histogramKind(options.buckets)),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 });
  watchProcess(metrics);
  return metrics;
}

function watchProcess(metrics: Metrics): void {
  metrics
    .gauge({ name: 'build_info', help: 'Always 1; the labels say what runs.', labels: ['version', 'node'] })
    .labels({ version, node: process.version }).value = 1;
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  metrics.gauge({
    name: 'eventloop_lag_seconds',
    help: 'How late timers ran since the last scrape; quantile 1 is the worst.',
    labels: ['quantile'],
    collect: (lag) => {
      for (const quantile of [0.5, 0.99, 1]) {
        // The histogram holds the time between two ticks of the 20 ms timer; a negative rest means it was on time.
        const late = delay.count === 0 ? 0 : delay.percentile(quantile * 100) / 1e9 - 0.02;
        lag.labels({ quantile: String(quantile) }).value = Math.max(0, late);
      }
      delay.reset();
    },
  });
}

interface Sample {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly metricName?: string;
}

/** What a type of metric is: how a series starts and which samples it shows. */
interface Kind<Series> {
  readonly type: 'counter' | 'gauge' | 'histogram';
  create(): Series;
  samples(series: Series, labels: Readonly<Record<string, string>>, name: string): Sample[];
}

const COUNTER: Kind<Counter> = {
  type: 'counter',
  create: () => ({ value: 0 }),
  samples: ({ value }, labels) => [{ value, labels }],
};

const GAUGE: Kind<Gauge> = { ...COUNTER, type: 'gauge' };

function histogramKind(buckets: readonly number[]): Kind<Histogram> {
  assert(buckets.length > 0, 'a histogram has buckets');
  for (let i = 1; i < buckets.length; i++) assert(buckets[i]! > buckets[i - 1]!, 'histogram buckets ascend');
  return {
    type: 'histogram',
    create: () => new BucketCounts(buckets),
    samples: (series, labels, name) => (series as BucketCounts).samples(labels, name),
  };
}

class BucketCounts implements Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number, times = 1): void {
    const bounds = this.#bounds;
    let low = 0;
    let high = bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (value <= bounds[middle]!) high = middle;
      else low = middle + 1;
    }
    this.#counts[low]! += times;
    this.#sum += value * times;
  }

  samples(labels: Readonly<Record<string, string>>, name: string): Sample[] {
    let count = 0;
    const samples: Sample[] = [];
    this.#counts.forEach((value, i) => {
      count += value;
      samples.push({
        metricName: `${name}_bucket`,
        labels: { ...labels, le: this.#bounds[i] ?? '+Inf' },
        value: count,
      });
    });
    samples.push({ metricName: `${name}_sum`, labels, value: this.#sum });
    samples.push({ metricName: `${name}_count`, labels, value: count });
    return samples;
  }
}

interface SeriesFamilyOptions<Series, Label extends string> {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly Label[];
  readonly kind: Kind<Series>;
  readonly collect: ((family: Family<Series, Label>) => void) | undefined;
}

class SeriesFamily<Series, Label extends string> implements Family<Series, Label> {
  readonly name: string;
  readonly #help: string;
  readonly #labels: readonly Label[];
  readonly #kind: Kind<Series>;
  readonly #collect: ((family: Family<Series, Label>) => void) | undefined;
  readonly #series = new Map<string, { labels: Record<string, string>; series: Series }>();

  constructor({ name, help, labels, kind, collect }: SeriesFamilyOptions<Series, Label>) {
    this.name = name;
    this.#help = help;
    this.#labels = labels;
    this.#kind = kind;
    this.#collect = collect;
    if (labels.length === 0 && collect === undefined) this.labels({} as Record<Label, string>);
  }

  labels(values: Readonly<Record<Label, string>>): Series {
    const key = this.#key(values);
    const held = this.#series.get(key);
    if (held !== undefined) return held.series;
    const full = this.#series.size >= MAX_SERIES;
    const labels = Object.fromEntries(this.#labels.map((label) => [label, full ? 'overflow' : values[label]]));
    const slot = full ? this.#key(labels as Record<Label, string>) : key;
    const shared = this.#series.get(slot);
    if (shared !== undefined) return shared.series;
    const series = this.#kind.create();
    this.#series.set(slot, { labels, series });
    return series;
  }

  remove(values: Readonly<Record<Label, string>>): void {
    this.#series.delete(this.#key(values));
  }

  /** As prom-client's own metrics answer a scrape. */
  get(): Promise<{ name: string; help: string; type: string; values: Sample[] }> {
    if (this.#collect !== undefined) {
      this.#series.clear();
      this.#collect(this);
    }
    const values: Sample[] = [];
    for (const { labels, series } of this.#series.values()) {
      for (const sample of this.#kind.samples(series, labels, this.name)) values.push(sample);
    }
    return Promise.resolve({ name: this.name, help: this.#help, type: this.#kind.type, values });
  }

  #key(values: Readonly<Record<Label, string>>): string {
    return this.#labels.map((label) => values[label]).join('\u0000');
  }
}
