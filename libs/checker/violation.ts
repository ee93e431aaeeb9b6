import { excerpt, type Shown } from './excerpt.ts';
import type { RecordedStream } from './recorded.ts';
import type { Reference } from './reference.ts';

/** Promises of ARCHITECTURE.md that recorded streams can show to be broken. */
export type PromiseName = 'I1' | 'I2' | 'I3' | 'I4' | 'I5' | 'I6' | 'I7' | 'I10';

export type CheckName =
  | 'leak'
  | 'filter'
  | 'genuine'
  | 'create'
  | 'previous'
  | 'initial'
  | 'order'
  | 'unique'
  | 'bookmarks'
  | 'resumability'
  | 'reliability'
  | 'ending'
  | 'floor'
  | 'visibility'
  | 'convergence';

/** The promise each check holds dogwatch to. */
export const PROMISES: Readonly<Record<CheckName, PromiseName>> = {
  leak: 'I7',
  filter: 'I7',
  genuine: 'I1',
  create: 'I1',
  previous: 'I1',
  initial: 'I2',
  order: 'I2',
  unique: 'I2',
  bookmarks: 'I3',
  resumability: 'I5',
  reliability: 'I4',
  ending: 'I5',
  floor: 'I6',
  visibility: 'I6',
  convergence: 'I5',
};

/** One promise that was broken once. */
export interface Violation {
  readonly check: CheckName;
  readonly promise: PromiseName;
  /** Undefined: by answers to reads. */
  readonly stream: number | undefined;
  /** One line. */
  readonly detail: string;
  /** The few events that show it, as lines. */
  readonly excerpt: string;
}

/** What a check found on a stream, before it is written out. */
export interface Finding extends Shown {
  readonly detail: string;
}

/** The finding as a violation: of what a client sees at kube-apiserver after dogwatch, I10 is what is broken. */
export function violation(check: CheckName, stream: RecordedStream, reference: Reference, finding: Finding): Violation {
  const removed = check === 'resumability' && stream.server === 'kube-apiserver';
  return {
    check,
    promise: removed ? 'I10' : PROMISES[check],
    stream: stream.id,
    detail: finding.detail,
    excerpt: excerpt(stream, reference, finding),
  };
}
