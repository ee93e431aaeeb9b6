import type { Random } from './random.ts';
import { type Change, type Draft, dropQuery, setQuery, UNKNOWN_METHOD, type World } from './request.ts';

const FUTURE = 10_000_000_000;
const JSON_TYPE = 'application/json';
const UNKNOWN = 'Bearer dogwatch-verify';

/** Makes of a well-formed request one that upstream refuses, or reads in its own way. */
export const ODD_CHANGES: readonly (readonly [weight: number, change: Change])[] = [
  [8, version],
  [8, options],
  [5, future],
  [8, selectors],
  [8, accept],
  [11, token],
  [8, place],
  [8, path],
  [9, asker],
  [4, method],
  [5, absentName],
  [4, numbers],
  [3, repeated],
  [3, nameConflict],
  [3, oddQuery],
  [2, webSocket],
  [9, longAgo],
  [2, exported],
];

const isWatch = (draft: Draft): boolean => draft.query.some(([name]) => name === 'watch');

function version(draft: Draft, random: Random): void {
  setQuery(
    draft,
    'resourceVersion',
    random.pick(['abc', '-1', '1.5', '00', '0x10', '%201', '18446744073709551616', '1e3', '+5']),
  );
}

/** Row L6, W1: what options allow of each other. */
function options(draft: Draft, random: Random, { version: now }: World): void {
  dropQuery(draft, 'resourceVersion', 'resourceVersionMatch', 'sendInitialEvents', 'continue');
  draft.firstPage = undefined;
  const text = random.pick([
    'resourceVersionMatch=Exact',
    'resourceVersionMatch=NotOlderThan',
    'resourceVersionMatch=Exact&resourceVersion=0',
    `resourceVersionMatch=Nonsense&resourceVersion=${now}`,
    'resourceVersionMatch=Exact&continue=abc&resourceVersion=1',
    'sendInitialEvents=true',
    'sendInitialEvents=false',
    'sendInitialEvents=true&resourceVersionMatch=Exact&resourceVersion=1',
    'sendInitialEvents=true&resourceVersionMatch=NotOlderThan&continue=abc',
    'sendInitialEvents=true&resourceVersionMatch=',
    `continue=abc&resourceVersion=${now}`,
  ]);
  for (const pair of text.split('&')) {
    const [name = '', value = ''] = pair.split('=');
    setQuery(draft, name, value);
  }
}

function future(draft: Draft, random: Random): void {
  dropQuery(draft, 'continue', 'limit');
  draft.firstPage = undefined;
  setQuery(draft, 'resourceVersion', String(FUTURE + random.below(1000)));
  // Upstream waits three seconds, and whether it then says so to who has less time is chance.
  if (isWatch(draft)) setQuery(draft, 'timeoutSeconds', '4');
  if (isWatch(draft) || draft.name !== '') return;
  if (random.chance(0.7)) setQuery(draft, 'resourceVersionMatch', random.pick(['NotOlderThan', 'Exact']));
}

function selectors(draft: Draft, random: Random): void {
  const [name, value] = random.pick([
    ['labelSelector', '!!'],
    ['labelSelector', 'a in b'],
    ['labelSelector', 'a in (b'],
    ['labelSelector', 'a=b=c'],
    ['labelSelector', '-a=b'],
    ['labelSelector', 'a=b,,c'],
    ['labelSelector', 'a>b'],
    ['labelSelector', `a=${'x'.repeat(64)}`],
    ['fieldSelector', 'metadata.name'],
    ['fieldSelector', 'spec.absent=x'],
    ['fieldSelector', 'metadata.labels=x'],
    ['fieldSelector', 'metadata.uid!=x'],
    ['fieldSelector', 'metadata.name=a\\'],
    ['fieldSelector', '=x'],
    ['fieldSelector', 'a=b,metadata.name'],
    ['fieldSelector', 'status.podIPs='],
  ] as const);
  setQuery(draft, name, encodeURIComponent(value));
}

function accept(draft: Draft, random: Random): void {
  draft.headers['accept'] = random.pick([
    'application/xml',
    'text/plain',
    'application/vnd.kubernetes.protobuf',
    'application/cbor',
    'application/json;as=Table;g=meta.k8s.io;v=v9',
    'application/json;as=Table;g=wrong;v=v1',
    'application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1',
    'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
    'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
    'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1beta1',
    'application/json;as=Nonsense;g=meta.k8s.io;v=v1',
    'application/yaml',
    'application/json;q=0',
    ';;;',
    'application/json;;',
    'json',
    '',
  ]);
}

/** Tokens no server gave: rows L7 and L8. */
function token(draft: Draft, random: Random, { version: now }: World): void {
  dropQuery(draft, 'resourceVersion', 'resourceVersionMatch', 'watch', 'sendInitialEvents');
  draft.firstPage = undefined;
  draft.name = '';
  draft.watchPrefix = false;
  const tokenOf = (parts: object): string => Buffer.from(JSON.stringify(parts)).toString('base64url');
  const v = 'meta.k8s.io/v1';
  setQuery(
    draft,
    'continue',
    random.pick([
      'abc',
      '%21%21',
      tokenOf({}),
      tokenOf({ v: 'meta.k8s.io/v2', rv: now, start: 'a\u0000' }),
      tokenOf({ v, rv: 0, start: 'a\u0000' }),
      tokenOf({ v, rv: -2, start: 'a\u0000' }),
      tokenOf({ v, rv: now, start: '' }),
      tokenOf({ v, rv: now, start: '../a\u0000' }),
      tokenOf({ v, rv: now, start: '//\u0000' }),
      tokenOf({ v, rv: -1, start: 'default/a\u0000' }),
      tokenOf({ v, rv: 1, start: 'default/a\u0000' }),
      tokenOf({ v, rv: 2, start: 'default/a\u0000' }),
      tokenOf({ v, rv: now, start: '/a\u0000' }),
      tokenOf({ v, rv: now, start: 'default/\u0000' }),
      tokenOf({ v, rv: FUTURE, start: 'default/a\u0000' }),
      `${tokenOf({ v, rv: now, start: 'default/a\u0000' })}%3D%3D`,
    ]),
  );
  if (random.chance(0.3)) setQuery(draft, 'resourceVersion', random.pick(['0', String(now)]));
  if (random.chance(0.7)) setQuery(draft, 'limit', '3');
}

/** A resource, version or scope there is not. */
function place(draft: Draft, random: Random): void {
  random.pick<() => void>([
    () => (draft.group = 'absent.example.com'),
    () => (draft.version = 'v9'),
    () => (draft.resource = 'absents'),
    () => (draft.resource = draft.resource.toUpperCase()),
    () => (draft.namespace = draft.namespace === '' ? 'default' : ''),
    () => (draft.name = draft.name === '' ? 'absent' : `${draft.name}/absent`),
    () => (draft.subresource = random.pick(['absent', 'status/more', 'log'])),
  ])();
}

function path(draft: Draft, random: Random): void {
  const root = draft.group === '' ? `/api/${draft.version}` : `/apis/${draft.group}/${draft.version}`;
  draft.firstPage = undefined;
  dropQuery(draft, 'continue');
  draft.rawPath = random.pick([
    `${root}/${draft.resource}/`,
    `${root}//${draft.resource}`,
    `/${root}/${draft.resource}`,
    `${root}/./${draft.resource}`,
    `${root}/../v1/${draft.resource}`,
    `${root}/namespaces//${draft.resource}`,
    `${root}/namespaces/%2e%2e/${draft.resource}`,
    `${root}/namespaces/default%2F${draft.resource}`,
    `${root}/namespaces/d%65fault/${draft.resource}`,
    `${root}/namespaces/default/${draft.resource}/%00`,
    `${root}/namespaces/default/${draft.resource}/%ff`,
    `${root}/namespaces/default/${draft.resource}/a%zz`,
    `${root}/namespaces/default/${draft.resource}/a%20b`,
    `${root}/namespaces/default/${draft.resource}/\u00e9\u00ff`,
    `${root}/${encodeURIComponent('ポッド')}`,
    `${root}/watch`,
    `${root}/watch/watch/${draft.resource}`,
    `${root}/proxy/${draft.resource}`,
    `${root}/namespaces/default/namespaces/default`,
    `${root}/${draft.resource};a=b`,
    `${root}`,
    `${root}/`,
    '/api',
    '/apis/',
    '/absent',
    '/',
  ]);
}

function asker(draft: Draft, random: Random, { users }: World): void {
  const stranger = (): void => {
    const authorization = random.pick([UNKNOWN, UNKNOWN, UNKNOWN, 'Basic YTpi', 'Bearer', 'Bearer  ', 'Nonsense x']);
    draft.asker = { kind: 'stranger', authorization };
  };
  random.pick<() => void>([
    () => (draft.asker = { kind: 'nobody' }),
    stranger,
    stranger,
    stranger,
    ...(users.length === 0 ? [] : [() => (draft.asker = { kind: 'token', name: random.pick(users) } as const)]),
    () => (draft.headers['impersonate-user'] = 'somebody-else'),
    () => Object.assign(draft.headers, { 'impersonate-user': 'somebody', 'impersonate-group': 'system:masters' }),
    () => (draft.headers['impersonate-group'] = 'alone'),
  ])();
}

/** Never a write that could succeed: upstream refuses this dry run before anything else. */
function method(draft: Draft, random: Random, { write }: World): void {
  dropQuery(draft, 'continue');
  draft.firstPage = undefined;
  draft.method = random.pick(['HEAD', 'OPTIONS', UNKNOWN_METHOD, ...(write ? ['POST', 'PUT', 'PATCH', 'DELETE'] : [])]);
  setQuery(draft, 'dryRun', 'Nonsense');
  if (draft.method === 'PATCH')
    draft.headers['content-type'] = random.pick(['application/nonsense', 'application/json']);
}

function absentName(draft: Draft, random: Random): void {
  dropQuery(draft, 'watch', 'continue', 'limit', 'sendInitialEvents', 'resourceVersionMatch');
  draft.firstPage = undefined;
  draft.watchPrefix = false;
  draft.name = random.pick(['absent', 'Absent', 'a.b.c', 'x'.repeat(260), '-', 'a b', '@']);
  setQuery(draft, 'resourceVersion', random.pick(['0', '0', '']));
}

function numbers(draft: Draft, random: Random): void {
  const [name, value] = random.pick([
    ['limit', 'abc'],
    ['limit', '-1'],
    ['limit', '9223372036854775808'],
    ['timeoutSeconds', 'x'],
    ['timeoutSeconds', '-1'],
    ['watch', 'maybe'],
    ['watch', ''],
    ['allowWatchBookmarks', 'maybe'],
    ['sendInitialEvents', 'maybe'],
    ['timeout', 'x'],
    ['timeout', '-5s'],
    ['timeout', '10'],
    ['shardSelector', 'nonsense'],
    ['pretty', 'maybe'],
    ['includeObject', 'Nonsense'],
    ['export', 'true'],
    ['exact', 'true'],
  ] as const);
  // A watch without any time ends before its first event or behind it, by chance.
  if ((isWatch(draft) || draft.watchPrefix) && name === 'timeoutSeconds' && value === '-1') return;
  setQuery(draft, name, value);
}

function repeated(draft: Draft, random: Random): void {
  draft.query.push(
    random.pick([
      ['resourceVersion', '0'],
      ['resourceVersion', ''],
      ['limit', '1'],
      ['watch', 'false'],
      ['labelSelector', 'a'],
      ['fieldSelector', 'metadata.name%3Da'],
    ]),
  );
}

/** Row L18, which only the /watch/ prefix has. */
function nameConflict(draft: Draft, random: Random, { population }: World): void {
  const { resource, objects } = random.pick(population.populated);
  const object = random.pick(objects);
  Object.assign(draft, { group: resource.group, version: resource.version, resource: resource.resource });
  Object.assign(draft, { namespace: object.namespace, name: object.name, watchPrefix: true, firstPage: undefined });
  draft.query = [
    ['fieldSelector', 'metadata.name%3Danother'],
    ['timeoutSeconds', '1'],
  ];
}

function oddQuery(draft: Draft, random: Random): void {
  draft.query.push(
    random.pick([
      ['a;b', '1'],
      ['labelSelector', '%zz'],
      ['labelSelector', '%ff'],
      ['labelSelector', '\u00e9'],
      ['', ''],
      ['fieldSelector', 'metadata.name=a+b'],
      ['LABELSELECTOR', '!!'],
      ['resourceVersion', '%30'],
      ['label%53elector', 'a'],
    ]),
  );
}

/** An upgrade without its headers: upstream answers as to any request. */
function webSocket(draft: Draft): void {
  draft.headers['upgrade'] = 'websocket';
}

/** Before all that is held: rows W8, L11. */
function longAgo(draft: Draft, random: Random, { population }: World): void {
  // The history of a built-in resource may begin with the cluster; a custom one's begins with its definition.
  const custom = population.populated.filter(({ resource }) => resource.custom);
  if (custom.length > 0 && draft.name === '' && draft.rawPath === undefined && random.chance(0.4)) {
    const { resource } = random.pick(custom);
    Object.assign(draft, { group: resource.group, version: resource.version, resource: resource.resource });
    draft.namespace = '';
    dropQuery(draft, 'fieldSelector');
    draft.headers['accept'] = JSON_TYPE;
  }
  dropQuery(draft, 'continue', 'sendInitialEvents', 'resourceVersionMatch');
  draft.firstPage = undefined;
  setQuery(draft, 'resourceVersion', random.pick(['1', '2', '5']));
  if (!isWatch(draft) && draft.name === '') setQuery(draft, 'resourceVersionMatch', 'Exact');
}

/** Row O4: what has been gone for long. */
function exported(draft: Draft, random: Random, { population }: World): void {
  const { resource, objects } = random.pick(population.populated);
  const object = random.pick(objects);
  Object.assign(draft, { group: resource.group, version: resource.version, resource: resource.resource });
  Object.assign(draft, { namespace: object.namespace, name: object.name, watchPrefix: false, firstPage: undefined });
  draft.query = [['export', random.pick(['true', '1', 'false'])]];
}
