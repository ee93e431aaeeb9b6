import { readFile, stat } from 'node:fs/promises';
import { KubeconfigError } from './kubeconfig-error.ts';

export interface RotatedFileOptions {
  readonly path: string;
  /** Told that a re-read failed; the last content stays in use, as in client-go. */
  readonly onProblem: (problem: Error) => void;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
}

/** A small file (token, certificate, key) that somebody replaces while dogwatch runs. */
export class RotatedFile {
  readonly #path: string;
  readonly #onProblem: (problem: Error) => void;
  readonly #now: () => number;
  #content: Buffer | undefined;
  #version = '';
  #checkedAt = Number.NEGATIVE_INFINITY;

  constructor({ path, onProblem, now = () => performance.now() }: RotatedFileOptions) {
    this.#path = path;
    this.#onProblem = onProblem;
    this.#now = now;
  }

  /**
   * The content, looked at anew if that last happened more than `maxAge` milliseconds ago. The same Buffer while the
   * file is the same. Throws KubeconfigError `unreadable` if it could never be read.
   */
  async read(maxAge: number): Promise<Buffer> {
    if (this.#content !== undefined && this.#now() - this.#checkedAt <= maxAge) return this.#content;
    try {
      await this.#refresh();
    } catch (error) {
      const problem = new KubeconfigError(
        'unreadable',
        `cannot read ${this.#path}: check that it exists and its permissions`,
        {
          cause: error,
        },
      );
      if (this.#content === undefined) throw problem;
      this.#onProblem(problem);
    }
    this.#checkedAt = this.#now();
    return this.#content ?? Buffer.alloc(0);
  }

  async #refresh(): Promise<void> {
    const { mtimeMs, ino, size } = await stat(this.#path);
    const version = `${mtimeMs}/${ino}/${size}`;
    if (version === this.#version) return;
    const content = await readFile(this.#path);
    if (this.#content === undefined || !content.equals(this.#content)) this.#content = content;
    this.#version = version;
  }
}
