import assert from 'node:assert/strict';
import type { Endpoint, KubeClient, KubeObject } from '@dogwatch/test/support/kube-client.ts';
import type { CaseWatch } from './case-watch.ts';

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
  readonly create: (name: string, labels?: Record<string, string>) => Promise<KubeObject>;
  /** Replaces a configmap's labels and data; returns its new version. */
  readonly update: (name: string, value: string, labels?: Record<string, string>) => Promise<number>;
  readonly remove: (name: string) => Promise<void>;
  /** A watch by the admin; closed when the case ends. */
  readonly watch: (path: string) => Promise<CaseWatch>;
}

export interface UpstreamCase {
  readonly name: string;
  /** True: it disturbs others, so nothing may run beside it. */
  readonly alone?: boolean;
  /** True: what kube-apiserver does, and dogwatch does otherwise on purpose; a reason stands beside it. */
  readonly ofUpstream?: boolean;
  readonly run: (context: CaseContext) => Promise<void>;
}

/** A version no upstream will have reached. */
export const FUTURE_VERSION = 9_999_999_999_999;

/** A resourceVersion as a number. */
export function versionOf({ resourceVersion }: { readonly resourceVersion: string }): number {
  assert.match(resourceVersion, /^\d+$/);
  return Number(resourceVersion);
}
