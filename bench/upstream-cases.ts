import assert from 'node:assert/strict';
import type { Endpoint, KubeClient, KubeObject } from '@dogwatch/test/support/kube-client.ts';
import { LIST_CASES } from './upstream-list-cases.ts';
import { CaseWatch } from './case-watch.ts';
import { WATCH_CASES } from './upstream-watch-cases.ts';

/** Where the cases run: the simulated upstream, a real kube-apiserver, or dogwatch in front of either. */
export interface UpstreamContext {
  readonly endpoint: Endpoint;
  readonly admin: KubeClient;
  /** The token of a user who may do everything. */
  readonly adminToken: string;
  /** A known user who may do nothing. */
  readonly nobody: KubeClient;
  /** Makes upstream lose its window, as a restart does. */
  readonly forgetHistory: () => Promise<void>;
}

/** The context of one case: a namespace of its own. */
export interface CaseContext extends UpstreamContext {
  readonly namespace: string;
  /** Path of the namespace's configmaps. */
  readonly configMaps: string;
  /** Creates a configmap and returns it. */
  create(name: string, labels?: Record<string, string>): Promise<KubeObject>;
  /** Replaces a configmap's labels and data; returns its new version. */
  update(name: string, value: string, labels?: Record<string, string>): Promise<number>;
  remove(name: string): Promise<void>;
  /** A watch by the admin; closed when the case ends. */
  watch(path: string): Promise<CaseWatch>;
}

export interface UpstreamCase {
  readonly name: string;
  /** True: it disturbs others, so nothing may run beside it. */
  readonly alone?: boolean;
  readonly run: (context: CaseContext) => Promise<void>;
}

/** A case bound to where it runs. */
export interface BoundCase {
  readonly name: string;
  readonly alone: boolean;
  readonly run: () => Promise<void>;
}

let cases = 0;

/** What kube-apiserver does and the simulated upstream must do too: to be run against either. */
export function upstreamCases(context: () => UpstreamContext): readonly BoundCase[] {
  return [...LIST_CASES, ...WATCH_CASES].map(({ name, run, alone = false }) => ({
    name,
    alone,
    run: async () => {
      cases += 1;
      const watches: CaseWatch[] = [];
      try {
        await run(await caseContext(context(), `case-${process.pid}-${cases}`, watches));
      } finally {
        for (const watch of watches) watch.close();
      }
    },
  }));
}

async function caseContext(context: UpstreamContext, namespace: string, watches: CaseWatch[]): Promise<CaseContext> {
  const { admin, endpoint, adminToken } = context;
  const configMaps = `/api/v1/namespaces/${namespace}/configmaps`;
  await admin.create('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
  const configMap = (name: string, value: string, labels?: Record<string, string>) => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace, ...(labels === undefined ? {} : { labels }) },
    data: { value },
  });
  return {
    ...context,
    namespace,
    configMaps,
    create: (name, labels) => admin.create(configMaps, configMap(name, '0', labels)),
    update: async (name, value, labels) => {
      const { metadata } = await admin.replace(`${configMaps}/${name}`, configMap(name, value, labels));
      return versionOf(metadata);
    },
    remove: async (name) => {
      await admin.delete(`${configMaps}/${name}`);
    },
    watch: async (path) => {
      const watch = await CaseWatch.open(endpoint, adminToken, path);
      watches.push(watch);
      return watch;
    },
  };
}

/** A resourceVersion as a number. */
export function versionOf({ resourceVersion }: { readonly resourceVersion: string }): number {
  assert.match(resourceVersion, /^\d+$/);
  return Number(resourceVersion);
}
