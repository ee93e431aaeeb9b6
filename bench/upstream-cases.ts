import { LIST_CASES } from './upstream-list-cases.ts';
import { CaseWatch } from './case-watch.ts';
import { type CaseContext, type UpstreamContext, versionOf } from './upstream-case.ts';
import { PROTOBUF_CASES } from './upstream-protobuf-cases.ts';
import { WATCH_CASES } from './upstream-watch-cases.ts';

/** A case bound to where it runs. */
export interface BoundCase {
  readonly name: string;
  readonly alone: boolean;
  readonly ofUpstream: boolean;
  readonly run: () => Promise<void>;
}

let cases = 0;

/** What kube-apiserver does and the simulated upstream must do too: to be run against either. */
export function upstreamCases(context: () => UpstreamContext): readonly BoundCase[] {
  return [...LIST_CASES, ...WATCH_CASES, ...PROTOBUF_CASES].map(({ name, run, alone = false, ofUpstream = false }) => ({
    name,
    alone,
    ofUpstream,
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
