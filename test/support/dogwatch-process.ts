import { join } from 'node:path';
import { authorityIn, DogwatchCommand, type Memory } from './dogwatch-command.ts';
import type { Endpoint } from './kube-client.ts';
import type { Sample } from './prometheus-text.ts';

export interface DogwatchOptions {
  /** For logs, certificate and the written kubeconfig. */
  readonly dir: string;
  /** dogwatch's own way upstream. */
  readonly kubeconfig: string;
  readonly clientCaFile?: string;
  readonly flags?: readonly string[];
}

/** `dogwatch sidecar` as a child process. */
export class DogwatchProcess {
  readonly #options: DogwatchOptions;
  readonly #ca: string;
  #command: DogwatchCommand;

  private constructor(options: DogwatchOptions, command: DogwatchCommand, ca: string) {
    this.#options = options;
    this.#command = command;
    this.#ca = ca;
  }

  /** Resolves once dogwatch says that it is ready. */
  static async start(options: DogwatchOptions): Promise<DogwatchProcess> {
    const command = await launch(options, { port: 0, adminPort: 0 });
    return new DogwatchProcess(options, command, await authorityIn(join(options.dir, 'dogwatch.kubeconfig')));
  }

  get endpoint(): Endpoint {
    return { server: `https://127.0.0.1:${this.#command.port}`, ca: this.#ca };
  }

  get pid(): number {
    return this.#command.child.pid;
  }

  /** The kubeconfig that dogwatch wrote for its own user. */
  get writtenKubeconfig(): string {
    return join(this.#options.dir, 'dogwatch.kubeconfig');
  }

  kill9(): Promise<void> {
    return this.#command.child.kill9();
  }

  /** Starts again on the same ports and certificate; resolves with the time until ready, ms. */
  async restart(): Promise<number> {
    const start = performance.now();
    this.#command = await launch(this.#options, this.#command);
    return performance.now() - start;
  }

  /** SIGTERM; rejects if dogwatch does not go by itself within 20 s or had died before. */
  async stop(): Promise<void> {
    this.#command.child.assertAlive();
    await this.#command.child.stop();
  }

  /** After a forced garbage collection. */
  memory(): Promise<Memory> {
    return this.#command.memory();
  }

  metrics(): Promise<Sample[]> {
    return this.#command.metrics();
  }

  /** Status of the admin port's /readyz or /livez. */
  health(path: '/readyz' | '/livez'): Promise<number> {
    return this.#command.health(path);
  }
}

function launch(
  { dir, kubeconfig, clientCaFile, flags = [] }: DogwatchOptions,
  { port, adminPort }: { readonly port: number; readonly adminPort: number },
): Promise<DogwatchCommand> {
  return DogwatchCommand.start({
    name: 'dogwatch',
    dir,
    args: [
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
  });
}
