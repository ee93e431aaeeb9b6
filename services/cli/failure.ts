import { ConfigError } from '@dogwatch/process/config.ts';
import { DifferencesFound } from '@dogwatch/verify/verify-error.ts';
import { redactText } from '@dogwatch/process/redact.ts';

/**
 * How a run ended: 0 well, 1 with a failure, 2 before it began, because of what the operator typed, 3 with differences
 * that it was to find.
 */
export type ExitCode = 0 | 1 | 2 | 3;

/** Wraps an error of which the operator wants to see the stack and the causes. */
export class VerboseFailure {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }
}

/**
 * What the operator reads about an error. One that somebody foresaw has a `code` and a message that says what to do:
 * one line. Any other is a bug of ours and comes with its stack.
 */
export function describeFailure(failure: unknown): { text: string; exitCode: ExitCode } {
  const verbose = failure instanceof VerboseFailure;
  const error = verbose ? failure.error : failure;
  const foreseen = foreseenError(error);
  if (foreseen === undefined) {
    return { text: redactText(`dogwatch: internal error, please report it: ${stackOf(error)}\n`), exitCode: 1 };
  }
  const text = verbose ? stackOf(error) : foreseen.message.replaceAll('\n', ' ');
  return { text: redactText(`dogwatch: ${text}\n`), exitCode: exitCodeOf(foreseen) };
}

function exitCodeOf(foreseen: Error): ExitCode {
  if (foreseen instanceof ConfigError) return 2;
  return foreseen instanceof DifferencesFound ? 3 : 1;
}

/**
 * The error itself if it has a `code`; of several that came together, the first. Node's own ERR_ codes, failed
 * assertions among them, say that we called something wrongly.
 */
function foreseenError(error: unknown): Error | undefined {
  if (error instanceof AggregateError && !('code' in error)) return foreseenError(error.errors[0]);
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined;
  return error.code.startsWith('ERR_') ? undefined : error;
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const causes = error instanceof AggregateError ? error.errors : error.cause === undefined ? [] : [error.cause];
  return [error.stack ?? error.message, ...causes.map((cause) => `caused by: ${stackOf(cause)}`)].join('\n');
}
