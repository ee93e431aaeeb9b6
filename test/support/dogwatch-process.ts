import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child } from './child.ts';
import { eventually, GiveUp } from './eventually.ts';
import type { Endpoint } from './kube-client.ts';
import { parsePrometheusText, type Sample } from './prometheus-text.ts';

const CLI = fileURLToPath(new URL('../../services/cli/dogwatch.js', import.meta.url));
const SERVING_TIMEOUT_MS = 30_000;

export interface DogwatchOptions {
  /** For logs, certificate and the written kubeconfig. */
  readonly dir: string;
  /** dogwatch's own way upstream. */
  readonly kubeconfig: string;
  readonly clientCaFile?: string;
  readonly flags?: readonly string[];
}

/** What dogwatch says about its memory on the admin port, bytes. */
export interface Memory {
  readonly rss: number;
  readonly heapUsed: number;
  readonly external: number;
}

interface Serving {
  readonly port: number;
  readonly adminPort: number;
}

/** `dogwatch sidecar` as a child process, on the Node that runs the tests. */
export class DogwatchProcess {
  readonly #options: DogwatchOptions;
  #child: Child;
  #serving: Serving;
  #ca: string;

  private constructor(options: DogwatchOptions, started: { child: Child; serving: Serving; ca: string }) {
    this.#options = options;
    this.#child = started.child;
    this.#serving = started.serving;
    this.#ca = started.ca;
  }

  /** Resolves once dogwatch says that it is ready. */
  static async start(options: DogwatchOptions): Promise<DogwatchProcess> {
    return new DogwatchProcess(options, await launch(options, { port: 0, adminPort: 0 }));
  }

  get endpoint(): Endpoint {
    return { server: `https://127.0.0.1:${this.#serving.port}`, ca: this.#ca };
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** The kubeconfig that dogwatch wrote for its own user. */
  get writtenKubeconfig(): string {
    return join(this.#options.dir, 'dogwatch.kubeconfig');
  }

  kill9(): Promise<void> {
    return this.#child.kill9();
  }

  /** Starts again on the same ports; resolves with the time until ready, ms. */
  async restart(): Promise<number> {
    const start = performance.now();
    const { child, serving, ca } = await launch(this.#options, this.#serving);
    this.#child = child;
    this.#serving = serving;
    this.#ca = ca;
    return performance.now() - start;
  }

  /** SIGTERM; rejects if dogwatch does not go by itself within 20 s or had died before. */
  async stop(): Promise<void> {
    this.#child.assertAlive();
    await this.#child.stop();
  }

  /** After a forced garbage collection. */
  async memory(): Promise<Memory> {
    const response = await this.#admin('/debug/memory');
    return (await response.json()) as Memory;
  }

  async metrics(): Promise<Sample[]> {
    return parsePrometheusText(await (await this.#admin('/metrics')).text());
  }

  /** Status of the admin port's /readyz or /livez. */
  async health(path: '/readyz' | '/livez'): Promise<number> {
    return (await fetch(`http://127.0.0.1:${this.#serving.adminPort}${path}`)).status;
  }

  async #admin(path: string): Promise<Response> {
    const response = await fetch(`http://127.0.0.1:${this.#serving.adminPort}${path}`);
    if (!response.ok) throw new Error(`${path} of dogwatch's admin port: ${response.status}`);
    return response;
  }
}

async function launch(
  { dir, kubeconfig, clientCaFile, flags = [] }: DogwatchOptions,
  { port, adminPort }: Serving,
): Promise<{ child: Child; serving: Serving; ca: string }> {
  const logFile = join(dir, 'dogwatch.log');
  const before = await readFile(logFile, 'utf8').catch(() => '');
  const child = await Child.start({
    name: 'dogwatch',
    command: process.execPath,
    args: [
      CLI,
      'sidecar',
      `--kubeconfig=${kubeconfig}`,
      '--bind-address=127.0.0.1',
      `--secure-port=${port}`,
      `--admin-port=${adminPort}`,
      `--cert-dir=${join(dir, 'dogwatch-certificates')}`,
      `--write-kubeconfig=${join(dir, 'dogwatch.kubeconfig')}`,
      ...(clientCaFile === undefined ? [] : [`--client-ca-file=${clientCaFile}`]),
      ...flags,
    ],
    logFile,
    // The command sets Node's options itself; this adds what /debug/memory needs.
    env: { ...cleanEnvironment(), NODE_OPTIONS: '--expose-gc' },
  });
  try {
    const wait = { what: 'dogwatch serves and is ready', timeoutMs: SERVING_TIMEOUT_MS, everyMs: 50 };
    const serving = await eventually(wait, async () => {
      assertAlive(child);
      const said = servingLine((await readFile(logFile, 'utf8')).slice(before.length));
      return said !== undefined && (await fetch(`http://127.0.0.1:${said.adminPort}/readyz`)).ok && said;
    });
    return { child, serving, ca: authorityOf(await readFile(join(dir, 'dogwatch.kubeconfig'), 'utf8')) };
  } catch (error) {
    await child.kill9();
    throw error;
  }
}

/** Without what would configure dogwatch on the machine of whoever runs the tests. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('DOGWATCH_') && name !== 'KUBECONFIG'),
  );
}

/** The certificate authority in the kubeconfig that dogwatch wrote. */
function authorityOf(yaml: string): string {
  const data = /certificate-authority-data: *"?([\w+/=]+)/.exec(yaml)?.[1];
  if (data === undefined) throw new Error('the kubeconfig that dogwatch wrote has no certificate-authority-data');
  return Buffer.from(data, 'base64').toString();
}

function assertAlive(child: Child): void {
  try {
    child.assertAlive();
  } catch (error) {
    throw new GiveUp(error);
  }
}

/** Ports from the log line {"msg":"serving","port":…,"adminPort":…}, once it is there. */
function servingLine(log: string): Serving | undefined {
  const line = log.split('\n').find((text) => text.includes('"msg":"serving"'));
  return line === undefined ? undefined : (JSON.parse(line) as Serving);
}
