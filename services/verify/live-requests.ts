import { Random } from './random.ts';
import { pathOf, type ServedResource } from './resources.ts';
import type { VerifyRequest } from './request.ts';

/** Label of everything that is made here; its value is the namespace. */
export const OWNER_LABEL = 'dogwatch-verify';
/** Longer than it takes to make the changes. */
const TIMEOUT_SECONDS = 3;

export interface LiveWorld {
  readonly namespace: string;
  readonly resources: readonly ServedResource[];
  /** The cluster's version before the changes. */
  readonly version: number;
  /** The watch is opened after the changes, and replays them. */
  readonly late: boolean;
}

/** A watch that sees objects change. */
export function generateLive(seed: number, index: number, world: LiveWorld): VerifyRequest {
  const random = new Random(seed, index);
  const resource = random.pick(world.resources);
  const everywhere = !resource.namespaced || random.chance(0.3);
  const base = everywhere
    ? pathOf(resource)
    : pathOf({ ...resource, resource: `namespaces/${world.namespace}/${resource.resource}` });
  const query = [
    'watch=true',
    `timeoutSeconds=${TIMEOUT_SECONDS}`,
    ...start(random, world),
    ...selectors(random, world, everywhere),
  ];
  const accept = random.weighted([
    [40, 'application/json'],
    [resource.custom ? 0 : 30, 'application/vnd.kubernetes.protobuf'],
    [10, 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1'],
    [10, 'application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1'],
    [10, 'application/json;as=Table;g=meta.k8s.io;v=v1'],
  ] as const);
  return {
    index,
    method: 'GET',
    path: `${base}?${query.join('&')}`,
    headers: { accept, ...(random.chance(0.3) ? { 'accept-encoding': 'gzip' } : {}) },
    body: undefined,
    asker: { kind: 'self' },
    protocol: random.chance(0.5) ? 'h2' : 'h1',
    firstPage: undefined,
    stream: true,
    live: true,
  };
}

function start(random: Random, { version, late }: LiveWorld): string[] {
  const bookmarks = random.chance(0.7) ? ['allowWatchBookmarks=true'] : [];
  if (late) return [`resourceVersion=${version}`, ...bookmarks];
  const initial = 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan';
  return [
    random.weighted([
      [40, initial],
      [10, `${initial}&resourceVersion=0`],
      [10, `${initial}&resourceVersion=${version}`],
      [10, 'resourceVersion=0'],
      [20, `resourceVersion=${version}`],
      [10, `sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion=${version}`],
    ] as const),
    ...bookmarks,
  ];
}

/** Elsewhere others may write at the same time: there only what is ours is watched. */
function selectors(random: Random, { namespace }: LiveWorld, everywhere: boolean): string[] {
  const labels = random.pick(['', '', 'phase=a', 'phase=b', 'phase!=a', 'phase in (a,c)', '!phase', 'phase']);
  const owned = everywhere ? `${OWNER_LABEL}=${namespace}` : '';
  const label = [owned, labels].filter((part) => part !== '').join(',');
  const field = random.pick(['', '', '', 'metadata.name=one', 'metadata.name!=one', `metadata.namespace=${namespace}`]);
  return [
    ...(label === '' ? [] : [`labelSelector=${encodeURIComponent(label)}`]),
    ...(field === '' || (field.startsWith('metadata.namespace') && everywhere)
      ? []
      : [`fieldSelector=${encodeURIComponent(field)}`]),
  ];
}
