import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Environment } from '@dogwatch/process/options.ts';
import { type Clock, sleep } from '@dogwatch/process/clock.ts';
import type { Service } from '@dogwatch/process/lifecycle.ts';

const SERVING_TIMEOUT_MS = 60_000;
const PROBE_INTERVAL_MS = 50;
/** Longer than any drain of ours takes. */
const STOP_TIMEOUT_MS = 45_000;
/** Of the line of log that an error quotes, in characters. */
const QUOTED_MAX = 400;

/** What a process says of itself once it serves. */
export interface Serving {
  readonly pid: number;
  /** By what they are for. */
  readonly ports: Readonly<Record<string, number>>;
}

export interface ChildPlan {
  readonly name: string;
  /** A script for the Node that runs this, and its arguments. */
  readonly script: string;
  readonly args: readonly string[];
  readonly env: Environment;
  /** What it writes to standard output and error; emptied at the start. */
  readonly logFile: string;
  /** Asked again and again until it says that the process serves. */
  probe(pid: number, logFile: string): Promise<Serving | undefined>;
}

/** A child process ended by itself, or does not begin to serve. The message says where to read why. */
export class ChildFailed extends Error {
  readonly code = 'ChildFailed';
}

/**
 * A process of this machine as a service: it gets SIGTERM when `signal` aborts, and `run` rejects with ChildFailed if it
 * ends before. It has a process group of its own, so that Ctrl-C reaches it by way of us and in our order, and an IPC
 * channel by which it notices when we are gone.
 */
export class ChildService implements Service {
  readonly name: string;
  readonly #plan: ChildPlan;
  readonly #clock: Clock;
  readonly #serving = Promise.withResolvers<Serving>();

  constructor(plan: ChildPlan, clock: Clock) {
    this.name = plan.name;
    this.#plan = plan;
    this.#clock = clock;
    // `run` rejects with the same for whoever does not wait for it.
    this.#serving.promise.catch(() => undefined);
  }

  /** Rejects with what `run` rejects with, and if the process is told to go before it serves. */
  get serving(): Promise<Serving> {
    return this.#serving.promise;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { name, logFile } = this.#plan;
    const child = this.#spawn();
    const ended = new AbortController();
    const exit = exitOf(child).finally(() => ended.abort());
    const probing = this.#probe(child, ended.signal);
    try {
      const how = await Promise.race([exit, aborted(signal), probing.then(() => exit)]);
      if (how === 'aborted') return;
      const quoted = await lastWords(logFile);
      throw new ChildFailed(`${name} ended with ${how}; its log, ${logFile}, says: ${quoted}`);
    } catch (error) {
      this.#serving.reject(error);
      throw error;
    } finally {
      await stop(child, exit, this.#clock);
      await probing.catch(() => undefined);
      this.#serving.reject(new ChildFailed(`${name} was stopped`));
    }
  }

  #spawn(): ChildProcess {
    const { script, args, env, logFile } = this.#plan;
    const log = openSync(logFile, 'w', 0o600);
    try {
      return spawn(process.execPath, [...process.execArgv, script, ...args], {
        stdio: ['ignore', log, log, 'ipc'],
        env,
        detached: true,
      });
    } finally {
      closeSync(log);
    }
  }

  async #probe(child: ChildProcess, ended: AbortSignal): Promise<void> {
    const { name, logFile } = this.#plan;
    const deadline = this.#clock.now() + SERVING_TIMEOUT_MS;
    while (!ended.aborted && child.pid !== undefined) {
      const serving = await this.#plan.probe(child.pid, logFile);
      if (serving !== undefined) return this.#serving.resolve(serving);
      if (this.#clock.now() > deadline) {
        throw new ChildFailed(`${name} does not serve after ${SERVING_TIMEOUT_MS / 1000} s; see its log, ${logFile}`);
      }
      await sleep(this.#clock, PROBE_INTERVAL_MS, ended);
    }
  }
}

/** Resolves with how the process ended; rejects if it could not be started. */
function exitOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once('exit', (code, signal) => resolve(signal ?? `code ${code}`));
    child.once('error', (cause) => reject(new ChildFailed(`cannot start ${child.spawnfile}`, { cause })));
  });
}

function aborted(signal: AbortSignal): Promise<'aborted'> {
  if (signal.aborted) return Promise.resolve('aborted');
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve('aborted'), { once: true }));
}

async function stop(child: ChildProcess, exit: Promise<unknown>, clock: Clock): Promise<void> {
  child.kill('SIGTERM');
  const timer = clock.setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exit.catch(() => undefined);
  timer.cancel();
}

/** What dogwatch said last to the operator, else the last line of its log. */
async function lastWords(logFile: string): Promise<string> {
  const lines = (await readFile(logFile, 'utf8')).trimEnd().split('\n');
  const line = lines.findLast((text) => text.startsWith('dogwatch: ')) ?? lines.at(-1) ?? '';
  return line === '' ? '(nothing)' : line.slice(0, QUOTED_MAX);
}
