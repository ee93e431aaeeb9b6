import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Child } from '../support/child.ts';
import type { Interest } from '../support/watch-model.ts';
import { type ObjectEvent, RecordedStream, type WatchEvent } from '../support/watch-recorder.ts';
import type { ClientProgram } from './client-programs.ts';

interface ObjectLine extends Omit<ObjectEvent, 'rv'> {
  readonly rv: string;
}

/** A line that a program of test/clients writes. */
type Line =
  | ObjectLine
  | { readonly type: 'BOOKMARK'; readonly rv: string }
  /** The listing is told; kube-rs does not say of which version it was. */
  | { readonly type: 'SYNCED'; readonly rv?: string }
  | { readonly type: 'RESUMED' | 'RESTARTED' }
  | { readonly type: 'ERROR'; readonly message: string };

export interface RunningClientOptions {
  /** Its log is `name`.log. */
  readonly name: string;
  readonly dir: string;
  readonly args: readonly string[];
  /** What it was told to watch. */
  readonly interest: Interest;
}

/** A client process and what it has told of the ConfigMaps it watches. */
export class RunningClient {
  readonly child: Child;
  readonly #interest: Interest;
  readonly #lines: Line[] = [];
  #position = 0;

  private constructor(child: Child, interest: Interest) {
    this.child = child;
    this.#interest = interest;
    createInterface({ input: child.stdout }).on('line', (text) => {
      const line = JSON.parse(text) as Line;
      this.#lines.push(line);
      this.#position = Math.max(this.#position, versionOf(line) ?? 0);
    });
  }

  static async start(
    { command, args: first }: Extract<ClientProgram, { readonly command: string }>,
    { name, dir, args, interest }: RunningClientOptions,
  ): Promise<RunningClient> {
    const logFile = join(dir, `${name}.log`);
    const child = await Child.start({ name, command, args: [...first, ...args], logFile, pipe: true });
    return new RunningClient(child, interest);
  }

  /** The highest version told. */
  get position(): number {
    return this.#position;
  }

  count(type: Line['type']): number {
    return this.#lines.filter((line) => line.type === type).length;
  }

  /** All it has told, as one watch with initial events that never ended. */
  stream(): RecordedStream {
    const stream = new RecordedStream(0, { path: '/api/v1/configmaps', ...this.#interest });
    for (const [index, line] of this.#lines.entries()) {
      const event = this.#event(line, index);
      if (event !== undefined) stream.record(event, 0);
    }
    return stream;
  }

  #event(line: Line, index: number): WatchEvent | undefined {
    switch (line.type) {
      case 'RESUMED':
      case 'RESTARTED':
        return undefined;
      case 'ERROR':
        return { type: 'ERROR', code: 0, message: line.message };
      case 'SYNCED':
        return { type: 'BOOKMARK', rv: versionOf(line) ?? this.#beforeNext(index), initialEventsEnd: true };
      case 'BOOKMARK':
        return { type: 'BOOKMARK', rv: Number(line.rv), initialEventsEnd: false };
      case 'ADDED':
      case 'MODIFIED':
      case 'DELETED':
        return { ...line, rv: Number(line.rv) };
    }
  }

  /** A listing of an untold version holds what there was right before the first change that followed it. */
  #beforeNext(index: number): number {
    const next = this.#lines.slice(index + 1).find((line) => versionOf(line) !== undefined);
    return next === undefined ? this.#position : (versionOf(next) ?? 0) - 1;
  }
}

function versionOf(line: Line): number | undefined {
  return 'rv' in line && line.rv !== undefined ? Number(line.rv) : undefined;
}
