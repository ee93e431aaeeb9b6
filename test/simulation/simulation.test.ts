// The distributed form's data path under faults. Every failure names its seed: SEED=12345 runs that one alone, RUNS=200
// runs so many.
import { describe, expect, test } from 'vitest';
import { type Report, type Scenario, Simulation } from './simulation.ts';

const SEED = process.env['SEED'];
const RUNS = Number(process.env['RUNS'] ?? 8);
const TIMEOUT_MS = 10_000 + RUNS * 2_000;
const STEPS = 3_000;
const AMPLE = { windowBytesMax: 64 * 1024 * 1024, tombstoneBytesMax: 16 * 1024 * 1024 };
const SCANT = { windowBytesMax: 20_000, tombstoneBytesMax: 4_000 };

const seeds = SEED === undefined ? Array.from({ length: RUNS }, (_, i) => (Date.now() + i) >>> 0) : [Number(SEED)];

async function run(scenario: Omit<Scenario, 'seed' | 'steps' | 'scopes'> & { scopes?: boolean }): Promise<Report[]> {
  const reports: Report[] = [];
  for (const seed of seeds) {
    try {
      reports.push(await new Simulation({ scopes: false, ...scenario, seed, steps: STEPS }).run());
    } catch (error) {
      throw new Error(`SEED=${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
  return reports;
}

const total = (reports: readonly Report[], of: (report: Report) => number): number =>
  reports.reduce((sum, report) => sum + of(report), 0);

/** A simulation in which nothing happens proves nothing: what happened less often than it must. One seed alone may. */
function tooQuiet(reports: readonly Report[], least: Readonly<Record<string, number>>): string[] {
  if (reports.length < RUNS) return [];
  const counted: Record<string, number> = {
    dropped: total(reports, ({ dropped }) => dropped),
    listings: total(reports, ({ listings }) => listings - 1),
    holesFilled: total(reports, ({ answers }) => answers.changes + answers.delivered),
    states: total(reports, ({ answers }) => answers.state),
    ...Object.fromEntries(
      (['events', 'resumes', 'diffs', 'conflations', 'bookmarks', 'beside'] as const).map((of) => [
        of,
        total(reports, ({ clients }) => clients[of]),
      ]),
    ),
  };
  return Object.entries(least).flatMap(([what, count]) =>
    counted[what]! < count ? [`${what}: ${counted[what]}`] : [],
  );
}

describe.each([
  { what: 'one partition', partitions: 1, expiry: false },
  { what: 'one partition, where many are deleted in one version', partitions: 1, expiry: true },
  { what: '2 partitions', partitions: 2, expiry: false },
  { what: '4 partitions', partitions: 4, expiry: false },
  { what: '16 partitions', partitions: 16, expiry: false },
])('a lane of $what', ({ partitions, expiry }) => {
  test(
    'I2 I3 I4 I5: envelopes are lost, doubled and late: every watch is sent exactly what happened',
    { timeout: TIMEOUT_MS },
    async () => {
      const reports = await run({ partitions, expiry, repairs: false, limits: AMPLE });
      expect(total(reports, ({ clients }) => clients.beside)).toBe(0);
      expect(
        tooQuiet(reports, {
          dropped: 50,
          holesFilled: 10,
          events: 1_500,
          resumes: 15,
          bookmarks: 50,
        }),
      ).toEqual([]);
    },
  );

  test(
    'I3 I4 I5: history is repaired and lost besides: what a watch adds up to is true, or it ends with 410',
    { timeout: TIMEOUT_MS },
    async () => {
      const reports = await run({ partitions, expiry, repairs: true, limits: AMPLE });
      expect(
        tooQuiet(reports, { listings: 10, states: 30, events: 500, resumes: 10, bookmarks: 50, beside: 10 }),
      ).toEqual([]);
    },
  );

  test(
    'I5: windows are small besides: what is not held any more is refused, never passed over',
    { timeout: TIMEOUT_MS },
    async () => {
      const reports = await run({ partitions, expiry, repairs: true, limits: SCANT });
      expect(
        tooQuiet(reports, { listings: 10, events: 100, resumes: 2, ...(expiry ? {} : { diffs: 1, conflations: 1 }) }),
      ).toEqual([]);
    },
  );
});

describe.each([{ partitions: 1 }, { partitions: 3 }])(
  'scopes of a lane of $partitions partitions',
  ({ partitions }) => {
    test(
      'I3 I4 I5: links are lossy and shards come and go: what a watch adds up to is true',
      { timeout: TIMEOUT_MS },
      async () => {
        const reports = await run({ partitions, expiry: false, repairs: false, scopes: true, limits: AMPLE });
        expect(tooQuiet(reports, { events: 500, resumes: 15, bookmarks: 50 })).toEqual([]);
      },
    );

    test('I3 I4 I5: history is repaired and lost besides, and windows are small', { timeout: TIMEOUT_MS }, async () => {
      const reports = await run({ partitions, expiry: false, repairs: true, scopes: true, limits: SCANT });
      expect(tooQuiet(reports, { listings: 5, events: 100, resumes: 5, bookmarks: 20 })).toEqual([]);
    });
  },
);
