import { fileURLToPath } from 'node:url';
import type { Report } from '@dogwatch/verify/report.ts';
import { run } from './command.ts';

const CLI = fileURLToPath(new URL('../../services/cli/dogwatch.js', import.meta.url));
/** Differences were found. */
const DIFFERENT = 3;

/** What `dogwatch verify` with these options found, differences or not. Rejects with what it said if it failed. */
export async function verifyCommand(options: readonly string[], timeoutMs: number): Promise<Report> {
  const { code, stdout, stderr } = await run(process.execPath, [CLI, 'verify', '-o=json', ...options], { timeoutMs });
  if (code !== 0 && code !== DIFFERENT) throw new Error(`verify ended with ${code}: ${stderr}`);
  return JSON.parse(stdout.toString()) as Report;
}
