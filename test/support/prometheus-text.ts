/** One sample of a Prometheus text exposition. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The samples of a scrape. Comments and timestamps are dropped; a line that is neither is an error. prom-client writes Nan. */
export function parsePrometheusText(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([+-]?[\d.]+(?:[eE][+-]?\d+)?|[+-]Inf|NaN|Nan)(?: \d+)?$/.exec(
      line,
    );
    if (match === null) throw new Error(`not a Prometheus sample: ${line}`);
    const [, name = '', labels = '', value = ''] = match;
    samples.push({ name, labels: parseLabels(labels), value: value === '+Inf' ? Infinity : Number(value) });
  }
  return samples;
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [, name = '', value = ''] of text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
    labels[name] = value.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
  }
  return labels;
}

/** The sum of the samples of `name` whose labels hold all of `labels`. */
export function sumOf(samples: readonly Sample[], name: string, labels: Readonly<Record<string, string>> = {}): number {
  return samples
    .filter((sample) => sample.name === name && matches(sample, labels))
    .reduce((sum, { value }) => sum + value, 0);
}

/** As `sumOf`, by `group/resource` ("core" for the empty group). */
export function byResource(
  samples: readonly Sample[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const sample of samples) {
    if (sample.name !== name || !matches(sample, labels)) continue;
    const group =
      sample.labels['group'] === '' || sample.labels['group'] === undefined ? 'core' : sample.labels['group'];
    const key = `${group}/${sample.labels['resource'] ?? ''}`;
    sums.set(key, (sums.get(key) ?? 0) + sample.value);
  }
  return sums;
}

function matches(sample: Sample, labels: Readonly<Record<string, string>>): boolean {
  return Object.entries(labels).every(([name, value]) => sample.labels[name] === value);
}
