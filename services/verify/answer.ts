import type { Encoding } from '@dogwatch/kube/lane.ts';

export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

/** How an answer came to its end. */
export type End =
  /** The server ended it. */
  | 'ended'
  /** We had seen enough. */
  | 'cut'
  /** The connection broke. */
  | 'broken';

/** What one side answered. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Decoded; of a watch empty. */
  readonly body: Buffer;
  /** Of a watch, each with its newline or length prefix. */
  readonly frames: readonly Buffer[] | undefined;
  readonly end: End;
  /** Why there is no answer, or why it broke. */
  readonly problem: string | undefined;
}

export function header({ headers }: Pick<Answer, 'headers'>, name: string): string {
  const value = headers[name];
  return value === undefined ? '' : typeof value === 'string' ? value : value.join(', ');
}

/** The encoding of objects in the answer: of a watch as well as of anything else. */
export function encodingOf(answer: Pick<Answer, 'headers'>): Encoding {
  return header(answer, 'content-type').includes('protobuf') ? 'protobuf' : 'json';
}
