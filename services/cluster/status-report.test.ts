import type { ControlEntry } from '@dogwatch/bus/control.ts';
import type { OpenLane } from '@dogwatch/bus/lane-directory.ts';
import { describe, expect, test } from 'vitest';
import { type Findings, makeReport } from './status-report.ts';
import { renderStatus } from './status-text.ts';

const STARTED = Date.UTC(2026, 0, 2, 3, 4, 5);
const LANE = 'coordination.k8s.io/v1/leases/protobuf/object';
const lane = {
  group: 'coordination.k8s.io',
  version: 'v1',
  resource: 'leases',
  encoding: 'protobuf',
  view: 'object',
} as const;
const open: OpenLane = { ...lane, lane, partitions: 2, epoch: 1, rv: 90 };

const entries = (version: number, ...keys: string[]): Map<string, ControlEntry> =>
  new Map(keys.map((key) => [key, { version, value: { started: STARTED, version: '0.1.0' } }]));

const KEYS = ['member/fanout/f', 'member/ingest/i', 'member/shard/a', 'member/shard/b'];

function found(changes: Partial<Findings> = {}): Findings {
  const partitions = [0, 1].map((partition) => ({ lane: LANE, partition, watermark: 95, objects: 3, bytes: 2 ** 20 }));
  return {
    before: entries(1, ...KEYS),
    after: entries(2, ...KEYS),
    lanes: [open],
    leaderOf: () => 'i',
    answers: new Map<string, Readonly<Record<string, unknown>>>([
      ['i', { lanes: [{ lane: LANE, epoch: 2, rv: 100 }] }],
      ['a', { partitions }],
      ['b', { partitions }],
      ['f', { copies: [{}, {}], watches: 7, connections: 5 }],
    ]),
    ...changes,
  };
}

describe('the report', () => {
  test('has every lane with its leader, and what the leader says of it', () => {
    expect(makeReport(found()).lanes).toEqual([
      {
        lane: LANE,
        resource: 'leases.coordination.k8s.io',
        version: 'v1',
        encoding: 'protobuf',
        view: 'object',
        partitions: 2,
        leader: 'i',
        epoch: 2,
        watermark: 100,
      },
    ]);
  });

  test('falls back on the control table where no leader answers', () => {
    const { lanes } = makeReport(found({ answers: new Map(), leaderOf: () => undefined }));
    expect(lanes).toMatchObject([{ leader: '', epoch: 1, watermark: 90 }]);
  });

  test('has every partition at both shards that own it, with the lag against the leader', () => {
    const { partitions } = makeReport(found());
    expect(partitions.map(({ partition, shard }) => `${partition} ${shard}`).toSorted()).toEqual([
      '0 a',
      '0 b',
      '1 a',
      '1 b',
    ]);
    for (const its of partitions) {
      expect(its).toMatchObject({ owner: true, watermark: 95, lag: 5, objects: 3, bytes: 2 ** 20 });
    }
  });

  test('a shard that holds what it does not own any more is shown, and not as owner', () => {
    const names = ['a', 'b', 'c'];
    const keys = names.map((name) => `member/shard/${name}`);
    const told = { partitions: [{ lane: LANE, partition: 0, watermark: 95, objects: 1, bytes: 1 }] };
    const { partitions } = makeReport(
      found({
        before: entries(1, ...keys),
        after: entries(2, ...keys),
        lanes: [{ ...open, partitions: 1 }],
        answers: new Map(names.map((name) => [name, told])),
      }),
    );
    expect(partitions.map(({ owner }) => owner)).toEqual([true, true, false]);
    expect(new Set(partitions.map(({ shard }) => shard))).toEqual(new Set(names));
  });

  test('tells who does not answer from who is gone', () => {
    const after = entries(2, 'member/fanout/f', 'member/ingest/i', 'member/shard/a');
    const { members, partitions } = makeReport(
      found({
        after,
        answers: new Map([
          ['f', {}],
          ['i', {}],
        ]),
      }),
    );
    expect(members.map(({ name, state }) => `${name}: ${state}`)).toEqual([
      'i: running',
      'a: not answering',
      'b: gone',
      'f: running',
    ]);
    // Who renews its entry is an owner to all the others, and what it holds is unknown.
    expect(partitions.map(({ shard, watermark, lag }) => ({ shard, watermark, lag }))).toEqual([
      { shard: 'a', watermark: undefined, lag: undefined },
      { shard: 'a', watermark: undefined, lag: undefined },
    ]);
  });

  test('an answer of another version in another form is no error', () => {
    const answers = new Map([['f', { copies: 3, watches: 'many' }]]);
    expect(makeReport(found({ answers })).fanouts).toEqual([
      { name: 'f', copies: 0, watches: undefined, connections: undefined },
    ]);
  });
});

test('a person gets four tables', () => {
  const text = renderStatus(makeReport(found({ lanes: [{ ...open, partitions: 1 }] })), STARTED + 3 * 3_600_000);
  const rows = text.split('\n').map((line) => line.split(/ {3,}/));
  expect(rows).toEqual([
    ['LANE', 'PARTITIONS', 'LEADER', 'EPOCH', 'WATERMARK'],
    [LANE, '1', 'i', '2', '100'],
    [''],
    ['LANE', 'PARTITION', 'SHARD', 'OWNER', 'WATERMARK', 'LAG', 'OBJECTS', 'SIZE'],
    [LANE, '0', expect.any(String), 'yes', '95', '5', '3', '1.0Mi'],
    [LANE, '0', expect.any(String), 'yes', '95', '5', '3', '1.0Mi'],
    [''],
    ['FANOUT', 'COPIES', 'WATCHES', 'CONNECTIONS'],
    ['f', '2', '7', '5'],
    [''],
    ['MEMBER', 'ROLE', 'STATE', 'AGE', 'VERSION'],
    ['i', 'ingest', 'running', '3h', '0.1.0'],
    ['a', 'shard', 'running', '3h', '0.1.0'],
    ['b', 'shard', 'running', '3h', '0.1.0'],
    ['f', 'fanout', 'running', '3h', '0.1.0'],
    [''],
  ]);
});
