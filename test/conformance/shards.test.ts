import { request } from 'node:https';
import { fnv1a64 } from '@dogwatch/kube/fnv1a64.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SeededRandom } from '../support/cluster-random.ts';
import type { Endpoint } from '../support/kube-client.ts';
import { sumOf } from '../support/prometheus-text.ts';
import { churn, COLLECTIONS, type Item, type List, mark, populate } from './shard-objects.ts';
import { NEEDS_DOGWATCH, Stage } from './stage.ts';

const SELECTORS = 1_000;
const AT_ONCE = 16;
/** Long enough for what is written meanwhile, and then both ends close the watch. */
const WATCH_SECONDS = 8;
const UID = 'object.metadata.uid';
const NAMESPACE = 'object.metadata.namespace';
const JSON_TYPE = 'application/json';
const PROTOBUF = 'application/vnd.kubernetes.protobuf,application/json;q=0.5';
const METADATA = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
const seed = Number(process.env['SHARDS_SEED'] ?? (Date.now() % 1_000_000_007) + 1);
const random = new SeededRandom(seed);

function pick<T>(from: readonly T[]): T {
  return from[random.below(from.length)]!;
}

function hex(value: bigint): string {
  return `0x${value.toString(16).padStart(16, '0')}`;
}

/** The hashes of what there is, at which selectors are most easily wrong by one. */
function hashes(items: readonly Item[], field: string): bigint[] {
  return items.map(({ metadata }) => {
    const { high, low } = fnv1a64(field === UID ? metadata.uid : (metadata.namespace ?? ''));
    return BigInt(high) * 2n ** 32n + BigInt(low);
  });
}

/** A selector of one to three ranges, written in one of the ways that are allowed. */
function selector(items: readonly Item[]): string {
  const field = pick([UID, UID, NAMESPACE]);
  const at = hashes(items, field);
  const bound = (): bigint => {
    switch (random.below(4)) {
      case 0:
        return pick([0n, 2n ** 63n, 2n ** 64n]);
      case 1:
        return BigInt(random.below(2 ** 31)) << 33n;
      default:
        return pick(at) + BigInt(random.below(2));
    }
  };
  const quote = pick(["'", '"']);
  const space = pick(['', ' ']);
  const range = (): string => {
    for (;;) {
      const [start, end] = [bound(), bound()];
      if (start === end) continue;
      const [low, high] = start < end ? [start, end] : [end, start];
      return `shardRange(${field},${space}${quote}${hex(low)}${quote},${space}${quote}${hex(high)}${quote})`;
    }
  };
  const ranges = Array.from({ length: 1 + random.below(3) }, range);
  return pick([0, 1]) === 0 ? ranges.join(`${space}||${space}`) : `(${ranges.join(') || (')})`;
}

/** Without what two lists of the newest state need not have in common: its version, also in the token of a next page. */
function withoutVersion(body: string): string {
  // In the metadata of the list, which stands behind the items of custom resources and before all others.
  const at = /^{\s*"apiVersion"/.test(body) ? body.lastIndexOf('"resourceVersion"') : body.indexOf('"resourceVersion"');
  const versionless = body.slice(at).replace(/\d+/, 'N');
  return (body.slice(0, at) + versionless).replace(/("continue": ?")[^"]+"/, '$1TOKEN"');
}

/** What of a watch tells of objects. */
function eventsOf(body: string): string[] {
  return body.split('\n').filter((line) => line !== '' && !line.startsWith('{"type":"BOOKMARK"'));
}

interface Watch {
  /** Resolves when what happens from now on is sent to it. */
  readonly begun: Promise<void>;
  /** What it was sent until its time was over. */
  readonly events: Promise<readonly string[]>;
}

function watch({ server, ca }: Endpoint, token: string, path: string): Watch {
  const begun = Promise.withResolvers<void>();
  const events = Promise.withResolvers<readonly string[]>();
  const url = new URL(`${path}&watch=true&timeoutSeconds=${WATCH_SECONDS}`, server);
  const fail = (error: Error): void => {
    begun.reject(error);
    events.reject(error);
  };
  const outgoing = request(url, { ca, agent: false, headers: { authorization: `Bearer ${token}` } }, (response) => {
    let body = '';
    response.setEncoding('utf8');
    response.on('data', (text: string) => {
      body += text;
      if (body.includes('"k8s.io/initial-events-end":"true"')) begun.resolve();
    });
    response.once('error', fail);
    response.once('end', () => {
      if (response.statusCode === 200) events.resolve(eventsOf(body));
      else fail(new Error(`${path}: ${response.statusCode} ${body}`));
    });
    if (!path.includes('sendInitialEvents')) begun.resolve();
  });
  outgoing.once('error', fail);
  outgoing.end();
  return { begun: begun.promise, events: events.promise };
}

/** What watches of `paths` are sent by upstream and by dogwatch while things happen. */
async function watched(stage: Stage, paths: readonly string[]) {
  const token = stage.plane.token('admin');
  const watches = paths.map((path) => ({
    expected: watch(stage.plane.endpoint, token, path),
    found: watch(stage.through, token, path),
  }));
  const happens = async (): Promise<void> => {
    await Promise.all(watches.flatMap(({ expected, found }) => [expected.begun, found.begun]));
    await churn(stage.plane.admin);
  };
  const [results] = await Promise.all([
    Promise.all(
      watches.map(async ({ expected, found }) => {
        const [upstream, dogwatch] = await Promise.all([expected.events, found.events]);
        return { expected: upstream, found: dogwatch };
      }),
    ),
    happens(),
  ]);
  return results;
}

const INITIAL = 'allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=';

describe('G2 L21: with the gate on upstream', () => {
  let stage: Stage;
  let items: readonly Item[];

  beforeAll(async () => {
    stage = await Stage.start({ apiserverFlags: ['--feature-gates=ShardedListAndWatch=true'] });
    await populate(stage.plane.admin);
    const lists = await Promise.all(COLLECTIONS.map((path) => stage.plane.admin.get<List>(path)));
    items = lists.flatMap((list) => list.items ?? []);
  });

  afterAll(() => stage?.stop());

  test(`${SELECTORS} lists of random shards are upstream's, byte for byte (seed ${seed})`, async () => {
    const client = stage.client('admin');
    const accepts = [JSON_TYPE, PROTOBUF, METADATA];
    for (const path of COLLECTIONS) {
      for (const accept of accepts) await client.request('GET', `${path}?resourceVersion=0`, { headers: { accept } });
    }
    // From here on dogwatch reads every version; the second mark proves that of the first it has everything.
    const marks = new Map<string, string>();
    for (const path of COLLECTIONS) marks.set(path, await mark(stage.plane.admin, path));
    for (const path of COLLECTIONS) await mark(stage.plane.admin, path);
    const servedBefore = sumOf(await stage.metrics(), 'dogwatch_requests_total', { answer: 'served' });
    const seen = { selected: 0, none: 0, told: 0 };
    const compare = async (): Promise<void> => {
      const accept = pick(accepts);
      const collection = pick(COLLECTIONS);
      const exact = `resourceVersion=${marks.get(collection)}&resourceVersionMatch=Exact`;
      const query = [
        `shardSelector=${encodeURIComponent(selector(items))}`,
        // A list of the newest state has a version of its own, which protobuf hides in its bytes.
        accept === PROTOBUF ? exact : pick([exact, 'resourceVersion=0', 'resourceVersion=']),
        pick(['', '', 'labelSelector=even%3Dtrue', 'limit=5']),
        pick(['', '', 'pretty=true']),
      ];
      const path = `${collection}?${query.filter((part) => part !== '').join('&')}`;
      const [expected, found] = await Promise.all(
        [stage.plane.admin, client].map((from) => from.request('GET', path, { headers: { accept } })),
      );
      expect(expected!.status, `${path}`).toBe(200);
      const strip = path.includes('Exact') ? (body: string) => body : withoutVersion;
      expect(strip(found!.body), `${accept} ${path}`).toBe(strip(expected!.body));
      expect(found!.headers['content-type']).toBe(expected!.headers['content-type']);
      if (found!.body.includes('shardInfo')) seen.told++;
      if (found!.body.includes('"uid"')) seen.selected++;
      else seen.none++;
    };
    for (let count = 0; count < SELECTORS; count += AT_ONCE) {
      await Promise.all(Array.from({ length: Math.min(AT_ONCE, SELECTORS - count) }, compare));
    }
    client.close();
    const served = sumOf(await stage.metrics(), 'dogwatch_requests_total', { answer: 'served' }) - servedBefore;
    expect(served, 'of them by dogwatch, not by upstream through it').toBeGreaterThan(
      NEEDS_DOGWATCH === undefined ? SELECTORS * 0.9 : -1,
    );
    for (const [what, count] of Object.entries(seen)) expect(count, `${what}`).toBeGreaterThan(SELECTORS / 10);
  });

  test('watches of random shards are sent what upstream sends', async () => {
    const { metadata } = await stage.plane.admin.get<List>('/api/v1/configmaps');
    const starts = [INITIAL, `resourceVersion=${metadata.resourceVersion}`, `${INITIAL}&labelSelector=even%3Dtrue`];
    const paths = Array.from({ length: 24 }, (_, index) => {
      const path = index % 4 === 0 ? '/api/v1/namespaces/red/configmaps' : '/api/v1/configmaps';
      return `${path}?${starts[index % 3]}&shardSelector=${encodeURIComponent(selector(items))}`;
    });
    const results = await watched(stage, paths);
    for (const [index, { expected, found }] of results.entries()) expect(found, `${paths[index]}`).toEqual(expected);
    expect(results.filter(({ expected }) => expected.length > 10).length).toBeGreaterThan(5);
  });

  test('what is no shard selector is refused in the words of upstream', async () => {
    const client = stage.client('admin');
    const lower = `shardRange(${UID}, '0x0000000000000000', '0x8000000000000000')`;
    for (const text of [
      ' ',
      'x',
      'shardRange()',
      `shardRange(${UID}, '0x0', '0x8')`,
      lower.slice(0, -1),
      `${lower} && ${lower}`,
      `${lower} || shardRange(${NAMESPACE}, '0x0000000000000000', '0x8000000000000000')`,
      lower.replaceAll("'0x", "'"),
      lower.replace('uid', 'name'),
      lower.replace('0x8', '0x0'),
    ]) {
      for (const query of ['', '&watch=true', '&watch=true&resourceVersion=1']) {
        const path = `/api/v1/configmaps?shardSelector=${encodeURIComponent(text)}${query}`;
        const expected = await stage.plane.admin.request('GET', path);
        const found = await client.request('GET', path);
        expect(expected.status, `${path}`).toBe(500);
        expect({ status: found.status, body: found.body }, `${path}`).toEqual({ status: 500, body: expected.body });
      }
    }
    client.close();
  });

  test('what CEL allows besides is read as upstream reads it', async () => {
    const client = stage.client('admin');
    const bounds = "'0x0000000000000000', '0x8000000000000000'";
    for (const text of [
      `any.shardRange(${UID}, ${bounds})`,
      `shardRange(${UID}, // comment\n${bounds})`,
      `shardRange(${UID}, r'0x0000000000000000', '0x800000000000000\\x30')`,
    ]) {
      const path = `/api/v1/configmaps?shardSelector=${encodeURIComponent(text)}`;
      const expected = await stage.plane.admin.get<List>(path);
      const found = await client.get<List>(path);
      expect(found.items).toEqual(expected.items);
      expect(found.metadata.shardInfo).toEqual(expected.metadata.shardInfo);
    }
    client.close();
  });
});

describe.skipIf(NEEDS_DOGWATCH !== undefined)('G2: with the gate off upstream, as it is by default', () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await Stage.start();
    await populate(stage.plane.admin);
  });

  afterAll(() => stage?.stop());

  /** The shards of an equal cut into `count`. */
  function shards(count: number, field: string): string[] {
    const bound = (index: number): bigint => (2n ** 64n * BigInt(index)) / BigInt(count);
    return Array.from(
      { length: count },
      (_, index) => `shardRange(${field}, '${hex(bound(index))}', '${hex(bound(index + 1))}')`,
    );
  }

  test('a part of a version that is not held is a 410: upstream would give everything', async () => {
    const client = stage.client('admin');
    const { metadata } = await stage.plane.admin.get<List>('/api/v1/namespaces/red/configmaps/o0');
    const path = `/api/v1/configmaps?resourceVersion=${metadata.resourceVersion}&resourceVersionMatch=Exact`;
    expect((await client.request('GET', path)).status).toBe(200);
    const part = await client.request('GET', `${path}&shardSelector=${encodeURIComponent(shards(2, UID)[0]!)}`);
    expect(part.status).toBe(410);
    client.close();
  });

  test('2 to 16 shards are disjoint and complete', async () => {
    const client = stage.client('admin');
    for (const path of COLLECTIONS) {
      const { items: whole } = await stage.plane.admin.get<List>(path);
      for (let count = 2; count <= 16; count++) {
        const field = count % 3 === 0 ? NAMESPACE : UID;
        const version = count % 2 === 0 ? '' : '0';
        const found: Item[] = [];
        for (const text of shards(count, field)) {
          const part = await client.get<List>(
            `${path}?resourceVersion=${version}&shardSelector=${encodeURIComponent(text)}`,
          );
          // Lists of custom resources have no place for it.
          expect(part.metadata.shardInfo?.selector).toBe(path.includes('things') ? undefined : text);
          found.push(...(part.items ?? []));
        }
        const key = ({ metadata }: Item): string => `${metadata.namespace}/${metadata.name} ${metadata.uid}`;
        expect(found.map(key).toSorted(), `${path} in ${count}`).toEqual((whole ?? []).map(key).toSorted());
      }
    }
    client.close();
  });

  test('so are watches of them, each in order', async () => {
    const { metadata } = await stage.plane.admin.get<List>('/api/v1/configmaps');
    const cuts = [2, 3, 7, 16].map((count) => {
      const start = count % 2 === 0 ? INITIAL : `resourceVersion=${metadata.resourceVersion}`;
      const field = count === 3 ? NAMESPACE : UID;
      return shards(count, field).map(
        (text) => `/api/v1/configmaps?${start}&shardSelector=${encodeURIComponent(text)}`,
      );
    });
    // Upstream does not read the selector: it tells each watch everything.
    const results = await watched(stage, cuts.flat());
    for (const paths of cuts) {
      const cut = results.splice(0, paths.length);
      const whole = cut[0]!.expected;
      expect(cut.flatMap(({ found }) => found).toSorted()).toEqual(whole.toSorted());
      for (const { found } of cut) {
        const members = new Set(found);
        expect(found).toEqual(whole.filter((event) => members.has(event)));
      }
      expect(cut.filter(({ found }) => found.length > 0).length).toBeGreaterThan(1);
    }
  });
});
