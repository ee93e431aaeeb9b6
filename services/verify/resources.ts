import { type GroupVersionResource, groupVersionPath } from '@dogwatch/kube/group-resource.ts';
import { customSelectableFields, selectableFields } from '@dogwatch/kube/selectable-fields.ts';
import { requestJson } from '@dogwatch/upstream/request-json.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { VerifyError } from './verify-error.ts';

/** A resource as the cluster serves it in one version. */
export interface ServedResource extends GroupVersionResource {
  readonly kind: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
  /** Defined by a CustomResourceDefinition. */
  readonly custom: boolean;
  readonly subresources: readonly string[];
  /** Labels of field selectors, each with the path of its value in JSON. */
  readonly fields: ReadonlyMap<string, readonly string[]>;
}

interface ApiResource {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
}

interface CustomDefinition {
  readonly spec: {
    readonly group: string;
    readonly names: { readonly plural: string };
    readonly versions: readonly {
      readonly name: string;
      readonly selectableFields?: readonly { readonly jsonPath: string }[];
    }[];
  };
}

/** Every resource the cluster serves, in a stable order. Rejects with VerifyError if its discovery cannot be read. */
export async function discoverResources(upstream: Upstream, signal: AbortSignal): Promise<ServedResource[]> {
  const get = async (path: string): Promise<unknown> => (await requestJson(upstream, { path, signal })).body;
  const core = (await get('/api')) as { versions?: readonly string[] };
  const apis = (await get('/apis')) as {
    groups?: readonly { name: string; versions: readonly { version: string }[] }[];
  };
  if (core.versions === undefined || apis.groups === undefined) {
    throw new VerifyError('cannot_read', `${upstream.server.host} does not say what it serves: check the kubeconfig`);
  }
  const groupVersions = [
    ...core.versions.map((version) => ({ group: '', version })),
    ...apis.groups.flatMap(({ name, versions }) => versions.map(({ version }) => ({ group: name, version }))),
  ];
  const definitions = (
    (await get('/apis/apiextensions.k8s.io/v1/customresourcedefinitions')) as {
      items?: readonly CustomDefinition[];
    }
  ).items;
  const found = await Promise.all(
    groupVersions.map(async (groupVersion) => {
      const list = (await get(groupVersionPath(groupVersion))) as { resources?: readonly ApiResource[] };
      return resourcesOf(groupVersion, list.resources ?? [], definitions ?? []);
    }),
  );
  return found.flat().toSorted((a, b) => (pathOf(a) < pathOf(b) ? -1 : 1));
}

/** Path of the whole collection. */
export function pathOf(resource: GroupVersionResource): string {
  return `${groupVersionPath(resource)}/${resource.resource}`;
}

/** Whether the cluster lets it be listed and watched, as nearly all. */
export function isWatchable({ verbs }: ServedResource): boolean {
  return verbs.includes('list') && verbs.includes('watch');
}

/** Those that `names` (RESOURCE or RESOURCE.GROUP) mean, each in one version. Throws VerifyError for an unknown one. */
export function writableResources(resources: readonly ServedResource[], names: readonly string[]): ServedResource[] {
  return names.map((name) => {
    const found = resources.find(
      (its) => (its.group === '' ? its.resource : `${its.resource}.${its.group}`) === name && isWatchable(its),
    );
    if (found === undefined) throw new VerifyError('cannot_write', `--write-resources: the cluster serves no ${name}`);
    return found;
  });
}

function resourcesOf(
  groupVersion: { readonly group: string; readonly version: string },
  served: readonly ApiResource[],
  definitions: readonly CustomDefinition[],
): ServedResource[] {
  const names = served.map(({ name }) => name);
  return served
    .filter(({ name }) => !name.includes('/'))
    .map(({ name, kind, namespaced, verbs }) => {
      const gvr = { ...groupVersion, resource: name };
      const definition = definitions.find(
        ({ spec }) => spec.group === groupVersion.group && spec.names.plural === name,
      );
      return {
        ...gvr,
        kind,
        namespaced,
        verbs,
        custom: definition !== undefined,
        subresources: names
          .filter((other) => other.startsWith(`${name}/`))
          .map((other) => other.slice(name.length + 1)),
        fields: fieldsOf(gvr, namespaced, definition),
      };
    });
}

function fieldsOf(
  gvr: GroupVersionResource,
  namespaced: boolean,
  definition: CustomDefinition | undefined,
): ReadonlyMap<string, readonly string[]> {
  const version = definition?.spec.versions.find(({ name }) => name === gvr.version);
  const fields =
    definition === undefined
      ? selectableFields(gvr, namespaced)
      : customSelectableFields(
          (version?.selectableFields ?? []).map(({ jsonPath }) => jsonPath),
          namespaced,
        );
  return new Map([...fields].map(([label, { json }]) => [label, json]));
}
