import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

/** The lines of a child's output, one at a time, each with a deadline. */
export class LineReader {
  readonly #lines: AsyncIterator<string>;
  readonly #name: string;

  constructor(name: string, stream: Readable) {
    this.#name = name;
    this.#lines = createInterface({ input: stream })[Symbol.asyncIterator]();
  }

  /** The next line. Rejects at the end of the output and after `timeoutMs`. */
  async next(timeoutMs: number): Promise<string> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`${this.#name} wrote no line within ${timeoutMs / 1_000} s`)),
        timeoutMs,
      );
    });
    try {
      const { done, value } = await Promise.race([this.#lines.next(), late]);
      if (done === true) throw new Error(`${this.#name} has ended its output`);
      return value;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The first line that matches, and its groups. */
  async until(pattern: RegExp, timeoutMs: number): Promise<RegExpExecArray> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const match = pattern.exec(await this.next(Math.max(1, deadline - performance.now())));
      if (match !== null) return match;
    }
  }
}
