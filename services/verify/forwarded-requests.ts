import type { Random } from './random.ts';
import { type Change, type Draft, dropQuery, setQuery, type World } from './request.ts';

/** Each answer asks the components anew, and has them in the order in which they answered. */
const NEVER_THE_SAME: ReadonlySet<string> = new Set(['componentstatuses']);

/** Makes of a well-formed request another, which is upstream's to answer. */
export const FORWARDED_CHANGES: readonly (readonly [weight: number, change: Change])[] = [
  [10, transform],
  [4, yaml],
  [5, subresource],
  [3, otherPath],
  [3, otherResource],
  [3, dryRun],
];

function transform(draft: Draft, random: Random): void {
  draft.headers['accept'] = random.pick([
    'application/json;as=Table;v=v1;g=meta.k8s.io,application/json',
    'application/json;as=Table;v=v1;g=meta.k8s.io',
    'application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json',
    'application/json;as=Table;g=meta.k8s.io;v=v1,application/json;as=Table;g=meta.k8s.io;v=v1beta1,application/json',
    'application/yaml;as=Table;v=v1;g=meta.k8s.io',
  ]);
  if (random.chance(0.5)) setQuery(draft, 'includeObject', random.pick(['None', 'Metadata', 'Object']));
}

function yaml(draft: Draft, random: Random): void {
  draft.headers['accept'] = random.pick(['application/yaml', 'application/yaml;q=0.9,application/json;q=0.1']);
}

function subresource(draft: Draft, random: Random, { population }: World): void {
  const able = population.populated.filter(({ resource }) => resource.subresources.length > 0);
  if (able.length === 0) return;
  const { resource, objects } = random.pick(able);
  const object = random.pick(objects);
  Object.assign(draft, { group: resource.group, version: resource.version, resource: resource.resource });
  Object.assign(draft, { namespace: object.namespace, name: object.name, watchPrefix: false, firstPage: undefined });
  draft.subresource = random.pick(
    resource.subresources.filter((name) => ['status', 'scale'].includes(name)).concat('status'),
  );
  dropQuery(draft, 'watch', 'continue', 'limit', 'sendInitialEvents', 'resourceVersionMatch', 'fieldSelector');
}

function otherPath(draft: Draft, random: Random): void {
  draft.firstPage = undefined;
  draft.query = [];
  draft.rawPath = random.pick([
    '/api',
    '/apis',
    '/api/v1',
    '/apis/apps/v1',
    `/apis/${draft.group === '' ? 'apps' : draft.group}`,
    '/version',
    '/openapi/v3',
    '/readyz',
    '/livez?verbose',
  ]);
}

function otherResource(draft: Draft, random: Random, { population }: World): void {
  const others = population.others.filter(({ resource }) => !NEVER_THE_SAME.has(resource));
  if (others.length === 0) return;
  const resource = random.pick(others);
  Object.assign(draft, { group: resource.group, version: resource.version, resource: resource.resource, name: '' });
  draft.firstPage = undefined;
  dropQuery(draft, 'continue');
}

/** What --write allows besides its own namespace: writes that are not kept. */
function dryRun(draft: Draft, random: Random, { population, write }: World): void {
  if (!write) return;
  const { resource, objects } = random.pick(population.populated);
  const object = random.pick(objects);
  const { group, version: served, resource: name } = resource;
  Object.assign(draft, { group, version: served, resource: name, namespace: object.namespace, watchPrefix: false });
  draft.firstPage = undefined;
  draft.query = [['dryRun', 'All']];
  draft.method = random.pick(['POST', 'PATCH', 'DELETE', 'PUT']);
  draft.name = draft.method === 'POST' ? '' : object.name;
  // What is minted is found in text.
  draft.headers['accept'] = 'application/json';
  draft.headers['content-type'] = draft.method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
  const apiVersion = group === '' ? served : `${group}/${served}`;
  const metadata = { name: draft.method === 'POST' ? 'dogwatch-verify' : object.name, labels: { verify: 'true' } };
  draft.body = draft.method === 'DELETE' ? undefined : JSON.stringify({ apiVersion, kind: resource.kind, metadata });
}
