import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, openSync, readFileSync, closeSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ChildOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** stderr goes here; stdout too unless `pipe`. Appended to, so that a restart keeps the story. */
  readonly logFile: string;
  /** True: stdin and stdout are pipes, stdout is copied to the log file as well. */
  readonly pipe?: boolean;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

/** A test process died or outlived its test. */
export class ChildError extends Error {
  readonly code = 'CHILD';
}

const STOP_TIMEOUT_MS = 20_000;
const running = new Set<Child>();
// The last resort when the test process itself is told to go: nothing started here may outlive it.
process.on('exit', () => {
  for (const child of running) child.signal('SIGKILL');
});

/** One process of a test, ended by its pid. */
export class Child {
  readonly name: string;
  readonly pid: number;
  readonly exited: Promise<Exit>;
  readonly #logFile: string;
  readonly #process: ChildProcess;
  #exit: Exit | undefined;
  #wanted = false;

  private constructor(options: ChildOptions, child: ChildProcess, pid: number) {
    this.name = options.name;
    this.pid = pid;
    this.#logFile = options.logFile;
    this.#process = child;
    running.add(this);
    this.exited = new Promise((resolve) => {
      child.on('exit', (code, signal) => {
        this.#exit = { code, signal };
        running.delete(this);
        resolve(this.#exit);
      });
    });
  }

  /** Resolves once the process exists. Throws ChildError if the command cannot be run. */
  static start(options: ChildOptions): Promise<Child> {
    const log = openSync(options.logFile, 'a');
    const child = spawn(options.command, options.args, {
      stdio: options.pipe === true ? ['pipe', 'pipe', log] : ['ignore', log, log],
      env: options.env ?? process.env,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    closeSync(log);
    child.stdout?.pipe(createWriteStream(options.logFile, { flags: 'a' }));
    return new Promise((resolve, reject) => {
      child.once('error', (cause) =>
        reject(new ChildError(`cannot start ${options.name} (${options.command})`, { cause })),
      );
      child.once('spawn', () => {
        const { pid } = child;
        if (pid === undefined) reject(new ChildError(`${options.name} has no pid`));
        else resolve(new Child(options, child, pid));
      });
    });
  }

  get stdout(): Readable {
    if (this.#process.stdout === null) throw new ChildError(`${this.name} was started without pipe`);
    return this.#process.stdout;
  }

  get stdin(): Writable {
    if (this.#process.stdin === null) throw new ChildError(`${this.name} was started without pipe`);
    return this.#process.stdin;
  }

  get alive(): boolean {
    return this.#exit === undefined;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.alive) this.#process.kill(signal);
  }

  /** Kill -9, and the end of the process awaited. */
  async kill9(): Promise<void> {
    this.#wanted = true;
    this.signal('SIGKILL');
    await this.exited;
  }

  /** SIGTERM, after 20 s SIGKILL. Throws ChildError if the process has to be killed or is still there. */
  async stop(): Promise<void> {
    this.#wanted = true;
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), STOP_TIMEOUT_MS);
    const { signal } = await this.exited;
    clearTimeout(timer);
    if (exists(this.pid)) throw new ChildError(`${this.name} (pid ${this.pid}) is still there after it was stopped`);
    if (signal === 'SIGKILL')
      throw new ChildError(`${this.name} did not stop within ${STOP_TIMEOUT_MS / 1000} s of SIGTERM\n${this.tail()}`);
  }

  /** Throws ChildError with the end of the log if the process is gone. */
  assertAlive(): void {
    if (this.#exit === undefined) return;
    const { code, signal } = this.#exit;
    throw new ChildError(`${this.name} ended (${signal ?? `code ${code}`})\n${this.tail()}`);
  }

  /** As `assertAlive`, but an end that was asked for, or with code 0, is well. */
  assertNotFailed(): void {
    if (!this.#wanted && this.#exit?.code !== 0) this.assertAlive();
  }

  /** The last lines of the log. */
  tail(lines = 20): string {
    return readFileSync(this.#logFile, 'utf8').split('\n').slice(-lines).join('\n');
  }
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
