import type { SampledObject, SampledResource } from './population.ts';
import type { Random } from './random.ts';
import { type Draft, dropQuery, setQuery, TOKEN_PLACE, type World } from './request.ts';

const JSON_TYPE = 'application/json';
const PROTOBUF = 'application/vnd.kubernetes.protobuf';
/** Of resources without objects there is little to compare. */
const POPULATED_SHARE = 0.75;
/** Of those with field labels of their own. */
const SELECTABLE_SHARE = 0.15;
const LARGE_SHARE = 0.02;

/** A list, watch or get that is well formed, of something that is there. */
export function plainDraft(random: Random, world: World): Draft {
  const { population } = world;
  const sampled = random.pick(
    random.weighted([
      [POPULATED_SHARE, population.populated],
      [SELECTABLE_SHARE, population.selectable],
      [LARGE_SHARE, population.large],
      [1 - POPULATED_SHARE - SELECTABLE_SHARE - LARGE_SHARE, population.watchable],
    ] as const),
  );
  const verb = random.weighted([
    [40, list],
    [42, watch],
    [18, get],
  ] as const);
  const draft = emptyDraft(sampled);
  const object = sampled.objects.length > 0 ? random.pick(sampled.objects) : undefined;
  verb({ draft, random, world, sampled, object });
  setAccept(draft, random, sampled.resource.custom);
  if (random.chance(population.large.includes(sampled) ? 0.8 : 0.3))
    draft.headers['accept-encoding'] = random.pick(['gzip', 'gzip, deflate, br', 'identity', 'deflate']);
  if (random.chance(0.15)) draft.headers['user-agent'] = random.pick(['curl/8.5.0', 'Wget/1.21', 'Mozilla/5.0 (X11)']);
  if (random.chance(0.07)) setQuery(draft, 'pretty', random.pick(['true', '1', 'false', '0', '']));
  if (random.chance(0.06)) setQuery(draft, random.pick(['foo', 'fieldManager', 'dryRun', 'labelSelectors']), 'bar');
  if (random.chance(0.05)) setQuery(draft, 'timeout', random.pick(['10s', '1m', '0', '5m0.5s']));
  if (random.chance(0.04)) setQuery(draft, 'shardSelector', encodeURIComponent(shard(random)));
  if (random.chance(0.05)) draft.headers['audit-id'] = `verify-${random.below(1e6)}`;
  askAsAnother(draft, random, world);
  return draft;
}

interface Making {
  readonly draft: Draft;
  readonly random: Random;
  readonly world: World;
  readonly sampled: SampledResource;
  readonly object: SampledObject | undefined;
}

function emptyDraft({ resource }: SampledResource): Draft {
  return {
    method: 'GET',
    group: resource.group,
    version: resource.version,
    watchPrefix: false,
    namespace: '',
    resource: resource.resource,
    name: '',
    subresource: '',
    query: [],
    headers: {},
    body: undefined,
    asker: { kind: 'self' },
    rawPath: undefined,
    firstPage: undefined,
  };
}

function list(making: Making): void {
  const { draft, random, world, object } = making;
  scope(making);
  select(making);
  const known = object?.resourceVersion ?? String(world.version);
  random.weighted<() => void>([
    [22, () => undefined],
    [4, () => exactPage(draft, random, known)],
    [23, () => setQuery(draft, 'resourceVersion', '0')],
    [6, () => setQuery(draft, 'resourceVersion', String(world.version))],
    [7, () => setQuery(draft, 'resourceVersion', known)],
    [8, () => match(draft, 'NotOlderThan', random.pick(['0', known, String(world.version)]))],
    [12, () => match(draft, 'Exact', random.pick([known, String(world.version)]))],
    [20, () => page(making)],
  ])();
  if (random.chance(0.08)) setQuery(draft, 'limit', String(random.pick([0, 1, 2, 5, 500, 100_000])));
  if (random.chance(0.05)) setQuery(draft, 'timeoutSeconds', String(random.pick([0, 1, 30])));
  if (random.chance(0.04)) setQuery(draft, 'watch', random.pick(['false', '0']));
  if (random.chance(0.03)) setQuery(draft, 'allowWatchBookmarks', 'true');
}

/** Row L4. */
function exactPage(draft: Draft, random: Random, version: string): void {
  setQuery(draft, 'resourceVersion', version);
  setQuery(draft, 'limit', String(random.pick([1, 2, 500])));
}

/** The page after a first one that either side gave. */
function page({ draft, random }: Making): void {
  const limit = random.pick([1, 1, 2, 3, 7]);
  const selectors = draft.query.filter(([name]) => name.endsWith('Selector'));
  const first: [string, string][] = [...selectors, ['limit', String(limit)]];
  draft.firstPage = {
    query: first.map(([name, value]) => `${name}=${value}`).join('&'),
    side: random.chance(0.5) ? 'upstream' : 'dogwatch',
  };
  setQuery(draft, 'continue', TOKEN_PLACE);
  if (random.chance(0.85)) setQuery(draft, 'limit', String(random.pick([limit, 1, 4, 500])));
  if (random.chance(0.1)) setQuery(draft, 'resourceVersion', random.pick(['', '0']));
}

function match(draft: Draft, kind: string, version: string): void {
  setQuery(draft, 'resourceVersionMatch', kind);
  if (!(kind === 'Exact' && version === '0')) setQuery(draft, 'resourceVersion', version);
}

function watch(making: Making): void {
  const { draft, random, world, sampled, object } = making;
  scope(making);
  if (object !== undefined && random.chance(0.1)) nameInPath(draft, object);
  else select(making);
  setQuery(draft, 'watch', random.pick(['true', 'true', 'true', '1']));
  const known = object?.resourceVersion ?? String(world.version);
  random.weighted<() => void>([
    [40, () => watchList(draft, random.pick(['', '', '0', '0', known, String(world.version)]))],
    [10, () => undefined],
    [15, () => setQuery(draft, 'resourceVersion', '0')],
    [10, () => setQuery(draft, 'resourceVersion', random.chance(0.6) ? known : String(world.version))],
    [7, () => recent(draft, random.pick(['', '0', String(world.version)]))],
    [6, () => watchPrefix(draft, random, sampled.resource.namespaced)],
  ])();
  if (random.chance(0.7)) setQuery(draft, 'allowWatchBookmarks', random.pick(['true', 'true', '1', 'false']));
  if (random.chance(0.85)) setQuery(draft, 'timeoutSeconds', random.pick(['1', '1', '1', '2']));
  if (random.chance(0.04)) setQuery(draft, 'limit', '1');
}

function watchList(draft: Draft, version: string): void {
  setQuery(draft, 'sendInitialEvents', 'true');
  setQuery(draft, 'resourceVersionMatch', 'NotOlderThan');
  if (version !== '') setQuery(draft, 'resourceVersion', version);
}

function recent(draft: Draft, version: string): void {
  setQuery(draft, 'sendInitialEvents', 'false');
  setQuery(draft, 'resourceVersionMatch', 'NotOlderThan');
  if (version !== '') setQuery(draft, 'resourceVersion', version);
}

function watchPrefix(draft: Draft, random: Random, namespaced: boolean): void {
  draft.watchPrefix = true;
  dropQuery(draft, 'watch');
  if (random.chance(0.6)) setQuery(draft, 'resourceVersion', '0');
  if (draft.name === '' || (namespaced && draft.namespace !== '')) return;
  draft.name = '';
}

function get({ draft, random, world, object, sampled }: Making): void {
  if (object === undefined) {
    draft.name = 'absent';
    if (sampled.resource.namespaced) draft.namespace = random.pick(world.population.namespaces);
  } else {
    nameInPath(draft, object);
  }
  const known = object?.resourceVersion ?? '1';
  random.weighted<() => void>([
    [10, () => undefined],
    [60, () => setQuery(draft, 'resourceVersion', '0')],
    [30, () => setQuery(draft, 'resourceVersion', random.pick([known, String(world.version)]))],
  ])();
}

function nameInPath(draft: Draft, object: SampledObject): void {
  draft.namespace = object.namespace;
  draft.name = object.name;
}

/** All namespaces, that of an object, or any. */
function scope({ draft, random, world, sampled, object }: Making): void {
  if (!sampled.resource.namespaced || random.chance(0.4)) return;
  draft.namespace =
    object !== undefined && random.chance(0.8)
      ? object.namespace
      : random.pick([...world.population.namespaces, 'absent']);
}

/** Selectors that fit some objects, or none. */
function select({ draft, random, object }: Making): void {
  if (random.chance(0.25)) setQuery(draft, 'labelSelector', encodeURIComponent(labelSelector(random, object)));
  if (random.chance(0.25)) setQuery(draft, 'fieldSelector', encodeURIComponent(fieldSelector(random, object)));
}

function labelSelector(random: Random, object: SampledObject | undefined): string {
  const labels = object?.labels ?? [];
  if (labels.length === 0 || random.chance(0.15))
    return random.pick(['absent', '!absent', 'a=b', 'a!=b', 'a in (b,c)', '']);
  const [key, value] = random.pick(labels);
  return random.pick([
    `${key}=${value}`,
    `${key}==${value}`,
    `${key}!=${value}`,
    key,
    `!${key}`,
    ...(value === '' ? [] : [`${key} in (${value},other)`, `${key} notin (${value})`, `${key}=${value},!absent`]),
  ]);
}

function fieldSelector(random: Random, object: SampledObject | undefined): string {
  const fields = object?.fields ?? [];
  if (fields.length === 0 || random.chance(0.1))
    return random.pick(['metadata.name=absent', 'metadata.name!=absent', '']);
  const [label, value] = random.pick(fields);
  const escaped = value.replaceAll(/[\\,=]/g, '\\$&');
  const other = random.pick(fields);
  return random.pick([
    `${label}=${escaped}`,
    `${label}=${escaped}`,
    `${label}==${escaped}`,
    `${label}!=${escaped}`,
    `${label}=`,
    `${label}=${escaped},${other[0]}!=no`,
  ]);
}

function setAccept(draft: Draft, random: Random, custom: boolean): void {
  const listLike = draft.name === '' && !draft.watchPrefix && !draft.query.some(([name]) => name === 'watch');
  const partial = `as=PartialObjectMetadata${listLike ? 'List' : ''};g=meta.k8s.io;v=v1`;
  const accept = random.weighted<string | undefined>([
    [14, undefined],
    [30, JSON_TYPE],
    [custom ? 0 : 26, PROTOBUF],
    [8, `${JSON_TYPE};${partial}`],
    [8, `${PROTOBUF};${partial}`],
    [3, `${JSON_TYPE};${partial},${JSON_TYPE}`],
    [3, '*/*'],
    [custom ? 0 : 3, `${PROTOBUF},${JSON_TYPE}`],
    [2, `${PROTOBUF};q=0.2, ${JSON_TYPE};q=0.9`],
    [2, `application/cbor,${JSON_TYPE}`],
    [2, `application/cbor;q=0.9,application/vnd.kubernetes.protobuf;q=0.8,${JSON_TYPE};q=0.7`],
    [1, `${JSON_TYPE};pretty=1`],
    [1, `${JSON_TYPE}; charset=utf-8`],
    [1, 'application/*'],
    [1, `text/html, image/gif, ${JSON_TYPE}, */*; q=.2`],
  ]);
  if (accept !== undefined) draft.headers['accept'] = accept;
}

function shard(random: Random): string {
  const key = random.pick(['object.metadata.uid', 'object.metadata.namespace']);
  const [from, to] = random.pick([
    ['0x0000000000000000', '0x8000000000000000'],
    ['0x8000000000000000', '0x10000000000000000'],
    ['0x4000000000000000', '0x5fffffffffffffff'],
  ] as const);
  return `shardRange(${key}, '${from}', '${to}')`;
}

function askAsAnother(draft: Draft, random: Random, { users }: World): void {
  if (users.length > 0 && random.chance(0.08)) draft.asker = { kind: 'token', name: random.pick(users) };
}
