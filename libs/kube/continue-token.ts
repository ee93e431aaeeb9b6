import { goJson } from './go-json.ts';
import type { ResourceVersion } from './resource-version.ts';

/** Where a paged LIST goes on (protocol row L13). */
export interface ContinueToken {
  /** Version of the first page, which all others show; negative: the newest state, whatever was shown before. */
  readonly rv: number;
  /** Lowest key of the page, below the scope of the request: `namespace/name` and a NUL, or in a namespace `name` and a NUL. */
  readonly start: string;
}

const VERSION = 'meta.k8s.io/v1';

/**
 * The token of the page behind `lastKey`, the key of the last object below the scope of the request. Byte for byte as
 * upstream writes it, so that either side can serve the page: its watch cache puts a slash first, etcd's store (of
 * resources without a cache: Events) none.
 */
export function encodeContinue(lastKey: string, rv: ResourceVersion, slash: boolean): string {
  return encode(rv, `${slash ? '/' : ''}${lastKey}\0`);
}

/** The token that goes on at `start` with the newest state, for those whose version is not held any more (row L12). */
export function inconsistentContinue(start: string): string {
  return encode(-1, start);
}

/**
 * Reads a token of either form. Undefined if it is none, or not written as upstream and dogwatch write them: such a
 * token is upstream's to judge (row L8).
 */
export function parseContinue(token: string): ContinueToken | undefined {
  const read = readJson(Buffer.from(token, 'base64url').toString());
  if (read === undefined || encode(read.rv, read.start) !== token) return undefined;
  const start = read.start.replace(/^\//, '');
  const segments = start.split('/');
  // Upstream refuses what path.Clean would change.
  if (segments.some((segment) => ['', '.', '..'].includes(segment))) return undefined;
  return { rv: read.rv, start };
}

function readJson(text: string): ContinueToken | undefined {
  let value: Partial<Record<keyof ContinueToken, unknown>> | null;
  try {
    value = JSON.parse(text) as typeof value;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  const { rv, start } = value ?? {};
  if (typeof rv !== 'number' || !Number.isSafeInteger(rv) || rv === 0) return undefined;
  // Go reads and writes a surrogate that is alone as U+FFFD.
  if (typeof start !== 'string' || !start.isWellFormed()) return undefined;
  return { rv, start };
}

function encode(rv: number, start: string): string {
  return Buffer.from(goJson({ v: VERSION, rv, start })).toString('base64url');
}
