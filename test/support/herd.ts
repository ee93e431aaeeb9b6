import type { Child } from './child.ts';
import type { ControlPlane } from './control-plane.ts';
import { LineReader } from './line-reader.ts';

/** Counters of a herd of client-go informers since it started. */
export interface HerdReport {
  readonly informers: number;
  /** LIST requests, watches with sendInitialEvents, and watches from a resourceVersion. */
  readonly lists: number;
  readonly watchLists: number;
  readonly watches: number;
  readonly http410: number;
  readonly http429: number;
  readonly httpOther: number;
  /** Requests that met no answer; they are in none of the counts above. */
  readonly refused: number;
  /** Watch streams that broke instead of ending. */
  readonly cut: number;
  /** In-stream ERROR events. */
  readonly errorEvents: number;
  /** Failures after which client-go relists, and those of them that a server's answer caused, not a lost connection. */
  readonly watchErrors: number;
  readonly statusErrors: number;
  /** Texts of the first ten errors. */
  readonly samples: readonly string[];
  readonly adds: number;
  readonly updates: number;
  readonly deletes: number;
}

export interface HerdState extends HerdReport {
  readonly objects: number;
  /** How many informers hold each cache content, by digest of (key, uid, RV). */
  readonly digests: Readonly<Record<string, number>>;
}

/** The resources of the herds: what kubelets, kube-proxies and controllers watch, 10 in all. */
export const HERD_RESOURCES = [
  'v1/configmaps',
  'v1/pods',
  'v1/services',
  'v1/serviceaccounts',
  'v1/namespaces',
  'v1/endpoints',
  'coordination.k8s.io/v1/leases',
  'discovery.k8s.io/v1/endpointslices',
  'apps/v1/replicasets',
  'v1/nodes',
] as const;

const SYNC_TIMEOUT_MS = 120_000;
const ANSWER_TIMEOUT_MS = 30_000;

/** Many client-go shared informers in one Go process, each with its own reflector and watch. */
export class Herd {
  readonly #child: Child;
  readonly #lines: LineReader;

  private constructor(child: Child, lines: LineReader) {
    this.#child = child;
    this.#lines = lines;
  }

  /** Resolves once all informers have synced. */
  static async start(
    plane: ControlPlane,
    options: { name: string; kubeconfig: string; count: number; resources?: readonly string[]; contentType?: string },
  ): Promise<Herd> {
    const child = await plane.startChild(options.name, {
      asset: 'informers',
      args: [
        'herd',
        `--kubeconfig=${options.kubeconfig}`,
        `--count=${options.count}`,
        `--resources=${(options.resources ?? HERD_RESOURCES).join(',')}`,
        `--content-type=${options.contentType ?? 'application/json'}`,
      ],
      pipe: true,
    });
    const lines = new LineReader(options.name, child.stdout);
    await lines.next(SYNC_TIMEOUT_MS);
    return new Herd(child, lines);
  }

  report(): Promise<HerdReport> {
    return this.#ask<HerdReport>('report');
  }

  state(): Promise<HerdState> {
    return this.#ask<HerdState>('state');
  }

  /** Closes all watches and awaits the end of the process. */
  async stop(): Promise<void> {
    this.#child.stdin.end();
    const { code } = await this.#child.exited;
    if (code !== 0) throw new Error(`the herd ended with ${code}\n${this.#child.tail()}`);
  }

  async #ask<T>(command: string): Promise<T> {
    this.#child.assertAlive();
    this.#child.stdin.write(`${command}\n`);
    return JSON.parse(await this.#lines.next(ANSWER_TIMEOUT_MS)) as T;
  }
}
