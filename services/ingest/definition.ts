import { createHash } from 'node:crypto';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { type ResourceVersion, parseResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { StatusError, serviceUnavailable } from '@dogwatch/kube/status.ts';
import { requestJson } from '@dogwatch/upstream/request-json.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';

/** What a CustomResourceDefinition says of one version of its resource. */
export interface Definition {
  /** Differs where upstream begins a new history: of another definition, spec or accepted names (protocol row W19). */
  readonly identity: string;
  /** Of the definition itself. */
  readonly rv: ResourceVersion;
  readonly served: boolean;
  readonly kind: string;
  readonly listKind: string;
  readonly namespaced: boolean;
  /** JSON paths of its selectable fields (KEP-4358). */
  readonly selectable: readonly string[];
}

const TIMEOUT_MS = 10_000;

interface Names {
  readonly kind?: string;
  readonly listKind?: string;
}

interface CustomResourceDefinition {
  readonly metadata: { readonly uid: string; readonly resourceVersion: string };
  readonly spec: {
    readonly scope: string;
    readonly names: Names;
    readonly versions: readonly {
      readonly name: string;
      readonly served: boolean;
      readonly selectableFields?: readonly { readonly jsonPath: string }[];
    }[];
  };
  readonly status?: { readonly acceptedNames?: Names };
}

/** Name of the CustomResourceDefinition of a resource. */
export function definitionName({ group, resource }: Pick<Lane, 'group' | 'resource'>): string {
  return `${resource}.${group}`;
}

/**
 * 'absent' where there is none (any more), 'unreadable' where dogwatch has no right to know. Rejects with StatusError
 * (503), or as requestJson does.
 */
export async function readDefinition(
  upstream: Upstream,
  lane: Lane,
  signal: AbortSignal,
): Promise<Definition | 'absent' | 'unreadable'> {
  // A list, so that `list`, which discovery needs anyhow, is all the right there must be.
  const query = new URLSearchParams({ fieldSelector: `metadata.name=${definitionName(lane)}` });
  const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions?${query.toString()}`;
  const { status, body } = await requestJson(upstream, { path, signal, timeoutMs: TIMEOUT_MS });
  if (status === 403 || status === 404) return 'unreadable';
  if (status !== 200) {
    throw new StatusError(
      serviceUnavailable(`upstream answered ${status} to the question what ${definitionName(lane)} is`, 1),
    );
  }
  const found = (body as { items: readonly CustomResourceDefinition[] }).items[0];
  return found === undefined ? 'absent' : definitionOf(found, lane.version);
}

function definitionOf({ metadata, spec, status }: CustomResourceDefinition, name: string): Definition {
  const version = spec.versions.find((it) => it.name === name);
  const names = { ...spec.names, ...status?.acceptedNames };
  const { kind = '', listKind = `${kind}List` } = names;
  const told = JSON.stringify([metadata.uid, spec, status?.acceptedNames]);
  return {
    identity: createHash('sha256').update(told).digest('base64'),
    rv: parseResourceVersion(metadata.resourceVersion) ?? 0,
    served: version?.served === true,
    kind,
    listKind,
    namespaced: spec.scope === 'Namespaced',
    selectable: (version?.selectableFields ?? []).map(({ jsonPath }) => jsonPath),
  };
}
