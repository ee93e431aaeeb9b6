import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

/** A server that the demo or the benchmark needs did not start, or is gone. */
export class ServerProcessError extends Error {
  readonly code = 'SERVER_PROCESS';
}

export interface ServerProcessOptions {
  /** What it is called in messages. */
  readonly name: string;
  /** A script of this repository, from its root, and its arguments. */
  readonly script: string;
  readonly args: readonly string[];
}

const ROOT = new URL('../', import.meta.url);
const START_MS = 30_000;
const STOP_MS = 10_000;
/** Lines of its output that are kept to explain a failure. */
const KEPT_LINES = 50;
/** And how many of them are shown. */
const COMPLAINTS = 5;

const running = new Set<ChildProcess>();
// The last resort when this process goes without `stop`: nothing started here may outlive it.
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A Node child that says in JSON when it serves; ended by its pid. */
export class ServerProcess {
  readonly name: string;
  readonly pid: number;
  /** The line with msg "serving". */
  readonly serving: Readonly<Record<string, unknown>>;
  readonly #child: ChildProcess;
  readonly #lines: string[];
  #stopping = false;

  private constructor(
    name: string,
    child: ChildProcess,
    started: { pid: number; serving: Record<string, unknown>; lines: string[] },
  ) {
    this.name = name;
    this.pid = started.pid;
    this.serving = started.serving;
    this.#child = child;
    this.#lines = started.lines;
  }

  /** Resolves when it serves. Rejects with ServerProcessError, the reason its own last words. */
  static start(options: ServerProcessOptions): Promise<ServerProcess> {
    const script = fileURLToPath(new URL(options.script, ROOT));
    // stdin is a pipe, so that the child can tell when its parent has died; detached from the terminal's Ctrl-C.
    const child = spawn(process.execPath, [script, ...options.args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    running.add(child);
    child.once('exit', () => running.delete(child));
    const lines: string[] = [];
    return new Promise((resolve, reject) => {
      const fail = (what: string) => {
        clearTimeout(timer);
        reject(new ServerProcessError(`${options.name} ${what}${explanation(lines)}`));
      };
      const timer = setTimeout(() => {
        child.kill('SIGKILL');
        fail(`did not start within ${START_MS / 1000} s`);
      }, START_MS);
      const onLine = (line: string) => {
        lines.push(line);
        if (lines.length > KEPT_LINES) lines.shift();
        const serving = servingLine(line);
        if (serving === undefined || child.pid === undefined) return;
        clearTimeout(timer);
        resolve(new ServerProcess(options.name, child, { pid: child.pid, serving, lines }));
      };
      for (const output of [child.stdout, child.stderr]) readLines(output, onLine);
      child.on('error', (error) => fail(`cannot be started: ${error.message}`));
      // 'close', not 'exit': its last words have been read by then.
      child.on('close', (code, signal) => fail(`ended (${signal ?? `exit code ${code}`})`));
    });
  }

  /** Calls back if it ends before `stop`. */
  onUnexpectedEnd(callback: (error: ServerProcessError) => void): void {
    this.#child.on('close', (code, signal) => {
      if (this.#stopping) return;
      const how = signal ?? `exit code ${code}`;
      callback(new ServerProcessError(`${this.name} ended (${how})${explanation(this.#lines)}`));
    });
  }

  /** SIGTERM, after ten seconds SIGKILL; resolves when it is gone. */
  stop(): Promise<void> {
    this.#stopping = true;
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
      this.#child.once('exit', () => {
        clearTimeout(timer);
        resolve();
      });
      this.#child.kill('SIGTERM');
    });
  }
}

function readLines(input: Readable | null, onLine: (line: string) => void): void {
  if (input !== null) createInterface({ input }).on('line', onLine);
}

function servingLine(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const entry = JSON.parse(line) as Record<string, unknown>;
    return entry['msg'] === 'serving' ? entry : undefined;
  } catch {
    return undefined;
  }
}

/** What of its last lines tells why it ended: warnings and errors of a JSON log, and whatever is no JSON. */
function explanation(lines: readonly string[]): string {
  return lines
    .flatMap(complaint)
    .slice(-COMPLAINTS)
    .map((line) => `\n  ${line}`)
    .join('');
}

function complaint(line: string): string[] {
  try {
    const { level, msg } = JSON.parse(line) as { level?: string; msg?: string };
    return level === 'info' || level === 'debug' ? [] : [msg ?? line];
  } catch {
    return [line];
  }
}
