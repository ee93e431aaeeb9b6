import { SIMULATED_RESOURCES } from './simulated-resources.ts';

const VERBS = ['create', 'delete', 'get', 'list', 'update', 'watch'];

/** `group/version` of everything served, the core group first. */
export const GROUP_VERSIONS: readonly { readonly group: string; readonly version: string }[] = [
  ...new Map(SIMULATED_RESOURCES.map(({ group, version }) => [`${group}/${version}`, { group, version }])).values(),
];

const VERSION = {
  major: '1',
  minor: '37',
  gitVersion: 'v1.37.2+simulated',
  gitCommit: 'simulated',
  gitTreeState: '',
  buildDate: '1970-01-01T00:00:00Z',
  goVersion: 'none',
  compiler: 'none',
  platform: 'simulated',
};

/** A body of unaggregated discovery or /version, undefined for another path. */
export function discover(path: string): object | undefined {
  if (path === '/version') return VERSION;
  if (path === '/api') return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] };
  if (path === '/apis') return { kind: 'APIGroupList', apiVersion: 'v1', groups: groups().map(apiGroup) };
  if (path === '/api/v1') return { kind: 'APIResourceList', groupVersion: 'v1', resources: resources('', 'v1') };
  const { group, version } = /^\/apis\/(?<group>[^/]+)(\/(?<version>[^/]+))?$/.exec(path)?.groups ?? {};
  if (group === undefined || !groups().includes(group)) return undefined;
  if (version === undefined) return { kind: 'APIGroup', apiVersion: 'v1', ...apiGroup(group) };
  const served = resources(group, version);
  if (served.length === 0) return undefined;
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: `${group}/${version}`, resources: served };
}

function groups(): string[] {
  return [...new Set(GROUP_VERSIONS.map(({ group }) => group))].filter((group) => group !== '');
}

function apiGroup(group: string): object {
  const versions = GROUP_VERSIONS.filter((it) => it.group === group).map(({ version }) => ({
    groupVersion: `${group}/${version}`,
    version,
  }));
  return { name: group, versions, preferredVersion: versions[0] };
}

function resources(group: string, version: string): object[] {
  return SIMULATED_RESOURCES.filter((it) => it.group === group && it.version === version).map((it) => ({
    name: it.resource,
    singularName: it.singular,
    namespaced: it.namespaced,
    kind: it.kind,
    verbs: VERBS,
    ...(it.shortNames.length === 0 ? {} : { shortNames: it.shortNames }),
  }));
}
