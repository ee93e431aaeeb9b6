import { spawn } from 'node:child_process';

export interface CommandOptions {
  readonly input?: Buffer | string;
  readonly env?: Readonly<Record<string, string>>;
  /** Killed after this; default 60 s. */
  readonly timeoutMs?: number;
}

export interface CommandResult {
  /** Null if it was killed. */
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

const TIMEOUT_MS = 60_000;

/** Runs a command to its end, whatever its exit code. stdin is closed after `input`. Rejects if it cannot be started. */
export function run(command: string, args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: { ...process.env, ...options.env },
      timeout: options.timeoutMs ?? TIMEOUT_MS,
      killSignal: 'SIGKILL',
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.on('error', reject);
    child.on('close', (code) =>
      resolve({ code, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() }),
    );
    child.stdin.on('error', () => undefined); // a command may end before it has read all of its input
    child.stdin.end(options.input);
  });
}

/** As `run`, but an exit code other than 0 rejects with what the command said. */
export async function runOk(command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, options);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${stderr || stdout.toString()}`);
  return stdout.toString();
}
