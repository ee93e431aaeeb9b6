import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CLAIMS = fileURLToPath(new URL('../results/claims/', import.meta.url));

/** `CONFORMANCE_TARGET=cluster`, and suites of the cluster itself, are what `make prove-distributed` shows. */
export type Part = 'sidecar' | 'distributed';

/** Where measured claims are kept, one file each; `make prove-PART` gathers them. Not in git. */
export function claimsDirectory(part: Part): string {
  return join(CLAIMS, part);
}

/** `PROVE=1` runs the suites at full size, which takes an hour; without it they are what CI has time for. */
export const FULL_SIZE = process.env['PROVE'] === '1';

/** Why a rate or a latency is not judged in CI. */
export const MEASURED_BY_PROVE = 'measured by make prove-distributed, on a machine with nothing beside it';

/** Prints what a test has measured and keeps it for test/results/PART.json. */
export function recordClaim(
  name: string,
  measured: Readonly<Record<string, number | string | readonly string[]>>,
): void {
  const said = Object.entries(measured).map(([key, value]) => `${key} ${[value].flat().join(' ')}`);
  console.log(`${name}: ${said.join(', ')}`);
  const directory = claimsDirectory(process.env['CONFORMANCE_TARGET'] === 'cluster' ? 'distributed' : 'sidecar');
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, `${name}.json`), `${JSON.stringify(measured, undefined, 2)}\n`);
}
