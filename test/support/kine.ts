import { join } from 'node:path';

/** What kube-apiserver keeps its objects in: etcd, or kine, which speaks etcd's protocol over SQLite. */
const STORES = ['etcd', 'kine'] as const;
export type Store = (typeof STORES)[number];
export const STORE = store(process.env['CONFORMANCE_STORE'] ?? 'etcd');

/** Why cases that look into etcd cannot run on another store. */
export const NEEDS_ETCD = STORE === 'etcd' ? undefined : `the control plane stands on ${STORE}; this reads etcd itself`;

export interface KineOptions {
  /** For its database. */
  readonly dir: string;
  readonly port: number;
  /** Answers /metrics with 200 once kine serves. */
  readonly metricsPort: number;
}

/** kine's command line: its default for SQLite, but nothing waits for the disk. */
export function kineFlags({ dir, port, metricsPort }: KineOptions): string[] {
  const database = join(dir, 'kine.db');
  const settings = '_journal_mode=WAL&_busy_timeout=30000&_synchronous=OFF&_txlock=immediate&cache=shared';
  return [
    `--endpoint=sqlite://${database}?${settings}`,
    `--listen-address=127.0.0.1:${port}`,
    `--metrics-bind-address=127.0.0.1:${metricsPort}`,
  ];
}

function store(text: string): Store {
  const found = STORES.find((name) => name === text);
  if (found === undefined) throw new Error(`CONFORMANCE_STORE is one of ${STORES.join(', ')}, not "${text}"`);
  return found;
}
