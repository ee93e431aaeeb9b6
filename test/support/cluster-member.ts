import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { authorityIn, DogwatchCommand, type Memory } from './dogwatch-command.ts';
import type { Endpoint } from './kube-client.ts';
import type { Sample } from './prometheus-text.ts';

/** The three kinds of process of the distributed form. */
export type Role = 'ingest' | 'shard' | 'fanout';

export const ROLES: readonly Role[] = ['ingest', 'shard', 'fanout'];

export interface MemberOptions {
  readonly role: Role;
  /** Unique in the cluster; its log is `name`.log. */
  readonly name: string;
  readonly dir: string;
  /** Everything but where it listens and its name. */
  readonly flags: readonly string[];
}

/** One process of a distributed dogwatch. A fan-out keeps its port and certificate over restarts. */
export class ClusterMember {
  readonly role: Role;
  readonly name: string;
  readonly #options: MemberOptions;
  #command: DogwatchCommand;
  #ca = '';
  #frozen = false;

  private constructor(options: MemberOptions, command: DogwatchCommand) {
    this.role = options.role;
    this.name = options.name;
    this.#options = options;
    this.#command = command;
  }

  /** Resolves once it says that it is ready. */
  static async start(options: MemberOptions): Promise<ClusterMember> {
    const member = new ClusterMember(options, await launch(options, 0));
    if (options.role === 'fanout') member.#ca = await authorityIn(kubeconfigOf(options));
    return member;
  }

  /** Where clients find a fan-out. */
  get endpoint(): Endpoint {
    return { server: `https://127.0.0.1:${this.#command.port}`, ca: this.#ca };
  }

  get pid(): number {
    return this.#command.child.pid;
  }

  get alive(): boolean {
    return this.#command.child.alive;
  }

  async kill9(): Promise<void> {
    await this.#command.child.kill9();
    this.#frozen = false;
  }

  /** Starts it again after `kill9` or `stop`; resolves with the time until ready, ms. */
  async restart(): Promise<number> {
    const start = performance.now();
    this.#command = await launch(this.#options, this.role === 'fanout' ? this.#command.port : 0);
    return performance.now() - start;
  }

  /** SIGTERM; rejects if it does not go by itself within 20 s or had died before. */
  async stop(): Promise<void> {
    this.thaw();
    this.#command.child.assertAlive();
    await this.#command.child.stop();
  }

  /** Throws with the end of its log if it has ended without being told to. */
  assertNotFailed(): void {
    this.#command.child.assertNotFailed();
  }

  /** Holds the process still, as a machine that hangs does; `thaw` lets it go on. */
  freeze(): void {
    this.#frozen = true;
    this.#command.child.signal('SIGSTOP');
  }

  thaw(): void {
    if (this.#frozen) this.#command.child.signal('SIGCONT');
    this.#frozen = false;
  }

  /** After a forced garbage collection. */
  memory(): Promise<Memory> {
    return this.#command.memory();
  }

  metrics(): Promise<Sample[]> {
    return this.#command.metrics();
  }

  /** Everything it has logged, over all its lives. */
  log(): Promise<string> {
    return readFile(join(this.#options.dir, `${this.name}.log`), 'utf8');
  }
}

function kubeconfigOf({ dir, name }: MemberOptions): string {
  return join(dir, `${name}.kubeconfig`);
}

function launch(options: MemberOptions, port: number): Promise<DogwatchCommand> {
  const { role, name, dir, flags } = options;
  return DogwatchCommand.start({
    name,
    dir,
    args: [
      role,
      `--name=${name}`,
      '--admin-address=127.0.0.1',
      '--admin-port=0',
      ...(role === 'fanout'
        ? [
            '--bind-address=127.0.0.1',
            `--secure-port=${port}`,
            `--cert-dir=${join(dir, `${name}-certificates`)}`,
            `--write-kubeconfig=${kubeconfigOf(options)}`,
          ]
        : []),
      ...flags,
    ],
  });
}
