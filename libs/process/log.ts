import { destination as openDestination, type Logger, pino, stdSerializers } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { redactFields, redactText } from './redact.ts';

/** A logger: `log.info({ lane }, 'watch ended')`, `log.child({ component })`. */
export type Log = Logger;

export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'trace';

/** Where lines go; each ends in a newline. */
export interface LogDestination {
  write(line: string): void;
}

export interface LogOptions {
  readonly level: LogLevel;
  /** Lines for a person on a terminal instead of JSON. */
  readonly pretty: boolean;
  /** Default: standard error, written in the background. */
  readonly destination?: LogDestination;
}

/** Most bytes of log waiting for a slow reader of standard error; lines beyond it are dropped and counted. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024;

/**
 * A pino logger with RFC 3339 times and level names. Nobody should log a credential; should it happen, secret fields
 * at any depth, bearer tokens, JSON web tokens and private keys in any text are replaced before a line leaves here.
 */
export function createLogger({ level, pretty, destination = standardError() }: LogOptions): Log {
  const format = pretty
    ? prettyFactory({
        colorize: process.stderr.isTTY && process.stderr.hasColors(),
        translateTime: 'SYS:HH:MM:ss.l',
        ignore: 'pid,hostname',
      })
    : undefined;
  const stream: LogDestination =
    format === undefined ? destination : { write: (line) => destination.write(format(line) ?? line) };
  return pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: {
        level: (label) => ({ level: label }),
        bindings: redactFields,
        log: redactFields,
      },
      serializers: { err: (error: Error) => redactFields(stdSerializers.err(error)) },
      hooks: { streamWrite: redactText },
    },
    stream,
  );
}

/**
 * The level for a klog verbosity: 0–3 info (klog's default of 2 is "useful steady state"), 4–5 debug, 6 and up trace.
 * `-v` alone means 4.
 */
export function levelOfVerbosity(v: number): LogLevel {
  if (v >= 6) return 'trace';
  return v >= 4 ? 'debug' : 'info';
}

/** Whether `--log-format` asks for lines for a person; `auto` does on a terminal. */
export function isPretty(format: 'auto' | 'json' | 'pretty', terminal: boolean): boolean {
  return format === 'pretty' || (format === 'auto' && terminal);
}

/** File descriptor 2 without blocking the event loop, flushed at exit; says afterwards how many lines were dropped. */
function standardError(): LogDestination {
  const stream = openDestination({ dest: 2, sync: false, maxLength: MAX_WAITING_BYTES });
  let dropped = 0;
  stream.on('drop', () => (dropped += 1));
  stream.on('drain', () => {
    if (dropped === 0) return;
    const line = { level: 'warn', time: new Date().toISOString(), dropped, msg: 'log reader too slow, lines dropped' };
    dropped = 0;
    stream.write(`${JSON.stringify(line)}\n`);
  });
  return stream;
}
