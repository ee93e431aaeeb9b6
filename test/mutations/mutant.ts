import { fileURLToPath } from 'node:url';

export type Promised = 'I1' | 'I2' | 'I3' | 'I4' | 'I5' | 'I6' | 'I7' | 'I8' | 'I9' | 'I10';

/** A bug that is planted in one source file, in the process of a test alone, to show that something catches it. */
export interface Mutant {
  readonly id: string;
  /** The promise it breaks, as ARCHITECTURE.md numbers them. */
  readonly promise: Promised;
  /** Path from the root of the repository. */
  readonly file: string;
  /** Occurs exactly once in the file, so that the list cannot rot. */
  readonly find: string;
  readonly replace: string;
  /** A second place in the file, where one defence covers for the other. */
  readonly also?: { readonly find: string; readonly replace: string };
  /** What goes wrong then. */
  readonly what: string;
  /** The unit test that catches it; by default seeds of the simulation have to. */
  readonly by?: string;
}

/** What `find` says is not in the file, or more than once: the list has to follow the source. */
export class StaleMutant extends Error {
  readonly code = 'STALE_MUTANT';
}

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The source with the bug in it. Throws StaleMutant. */
export function plant(source: string, { id, file, find, replace, also }: Mutant): string {
  const places = [{ find, replace }, ...(also === undefined ? [] : [also])];
  return places.reduce((planted, place) => {
    const parts = planted.split(place.find);
    if (parts.length !== 2) {
      throw new StaleMutant(`${id}: its text is ${parts.length - 1} times in ${file}, where it must be once; adapt it`);
    }
    return parts.join(place.replace);
  }, source);
}
