// Gathers what the tests have measured into test/results/sidecar.json, with the machine it was measured on.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CLAIMS_DIRECTORY } from './claims.ts';

const files = existsSync(CLAIMS_DIRECTORY) ? readdirSync(CLAIMS_DIRECTORY).toSorted() : [];
const claims = Object.fromEntries(
  files.map((file) => [
    file.replace(/\.json$/, ''),
    JSON.parse(readFileSync(join(CLAIMS_DIRECTORY, file), 'utf8')) as unknown,
  ]),
);
const machine = {
  cores: availableParallelism(),
  cpu: cpus()[0]?.model ?? 'unknown',
  memoryGB: Math.round(totalmem() / 2 ** 30),
  node: process.version,
};
const path = fileURLToPath(new URL('../results/sidecar.json', import.meta.url));
writeFileSync(path, `${JSON.stringify({ measured: new Date().toISOString(), machine, claims }, undefined, 2)}\n`);
console.log(`claims: ${files.length} written to ${path}`);
