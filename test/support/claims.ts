import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** `CONFORMANCE_TARGET=cluster`, and suites of the cluster itself, are what `make prove-distributed` shows. */
export type Part = 'sidecar' | 'distributed' | 'conformance';

/** `PROVE=1` runs the suites at full size, which takes an hour; without it they are what CI has time for. */
export const FULL_SIZE = process.env['PROVE'] === '1';

/** Why a rate or a latency is not judged in CI. */
export const MEASURED_BY_PROVE = 'measured by make prove-distributed, on a machine with nothing beside it';

/** Why what takes long is not in CI. */
export const RUN_BY_PROVE = 'takes longer than CI has: run by make prove-conformance';

/** Set by `make prove-PART`: the directory where a suite leaves what it has measured. */
export const CLAIMS_VARIABLE = 'PROVE_CLAIMS';

/**
 * Prints what a test has measured; `make prove-PART` keeps it for test/results/PART.json. A suite that compares
 * kube-apiserver with dogwatch case by case says `cases`, `passed direct` and `passed through` in one of its claims.
 */
export function recordClaim(
  name: string,
  measured: Readonly<Record<string, number | string | readonly string[]>>,
): void {
  const said = Object.entries(measured).map(([key, value]) => `${key} ${[value].flat().join(' ')}`);
  console.log(`${name}: ${said.join(', ')}`);
  const directory = process.env[CLAIMS_VARIABLE];
  if (directory === undefined) return;
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, `${name}.json`), `${JSON.stringify(measured, undefined, 2)}\n`);
}
