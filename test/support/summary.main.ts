// Closing line of a CI run: sums the JSON reports of vitest named as arguments. Exit code 1 if anything failed.
import { existsSync, readFileSync } from 'node:fs';
import { countTests, type VitestReport } from './vitest-report.ts';

const reports = process.argv
  .slice(2)
  .map((path) => (existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as VitestReport) : undefined));
const { passed, failed, skipped } = countTests(reports);
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = failed > 0 ? 1 : 0;
