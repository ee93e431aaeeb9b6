// Closing line of a CI run: sums the JSON reports of vitest named as arguments. Exit code 1 if anything failed.
import { countReports } from './vitest-report.ts';

const { passed, failed, skipped } = countReports(process.argv.slice(2));
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = failed > 0 ? 1 : 0;
