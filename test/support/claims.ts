import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where measured claims are kept, one file each; `make prove-sidecar` gathers them. Not in git. */
export const CLAIMS_DIRECTORY = fileURLToPath(new URL('../results/claims/', import.meta.url));

/** Prints what a test has measured and keeps it for test/results/sidecar.json. */
export function recordClaim(
  name: string,
  measured: Readonly<Record<string, number | string | readonly string[]>>,
): void {
  const said = Object.entries(measured).map(([key, value]) => `${key} ${[value].flat().join(' ')}`);
  console.log(`${name}: ${said.join(', ')}`);
  mkdirSync(CLAIMS_DIRECTORY, { recursive: true });
  writeFileSync(join(CLAIMS_DIRECTORY, `${name}.json`), `${JSON.stringify(measured, undefined, 2)}\n`);
}
