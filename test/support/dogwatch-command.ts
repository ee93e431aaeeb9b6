import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child } from './child.ts';
import { eventually, GiveUp } from './eventually.ts';
import { parsePrometheusText, type Sample } from './prometheus-text.ts';

const CLI = fileURLToPath(new URL('../../services/cli/dogwatch.js', import.meta.url));
const SERVING_TIMEOUT_MS = 30_000;

/** What dogwatch says about its memory on the admin port, bytes. */
export interface Memory {
  readonly rss: number;
  readonly heapUsed: number;
  readonly external: number;
}

/** What a dogwatch says of itself when it is ready; only those that clients talk to have a `port`. */
interface Serving {
  readonly port?: number;
  readonly adminPort: number;
}

export interface DogwatchCommandOptions {
  /** Its log is `name`.log. */
  readonly name: string;
  readonly dir: string;
  /** Command and flags; where it listens must be among them (`--admin-port=0`). */
  readonly args: readonly string[];
}

/** One run of the `dogwatch` command as a child process, on the Node that runs the tests. */
export class DogwatchCommand {
  readonly child: Child;
  readonly #serving: Serving;

  private constructor(child: Child, serving: Serving) {
    this.child = child;
    this.#serving = serving;
  }

  /** Resolves once it says that it serves, and its /readyz agrees. Rejects with the end of its log if it ends before. */
  static async start({ name, dir, args }: DogwatchCommandOptions): Promise<DogwatchCommand> {
    const logFile = join(dir, `${name}.log`);
    const before = await readFile(logFile, 'utf8').catch(() => '');
    const child = await Child.start({
      name,
      command: process.execPath,
      args: [CLI, ...args],
      logFile,
      // The command sets Node's options itself; this adds what /debug/memory needs.
      env: { ...cleanEnvironment(), NODE_OPTIONS: '--expose-gc' },
    });
    try {
      const wait = { what: `${name} serves and is ready`, timeoutMs: SERVING_TIMEOUT_MS, everyMs: 50 };
      const serving = await eventually(wait, async () => {
        assertAlive(child);
        const said = servingLine((await readFile(logFile, 'utf8')).slice(before.length));
        return said !== undefined && (await fetch(`http://127.0.0.1:${said.adminPort}/readyz`)).ok && said;
      });
      return new DogwatchCommand(child, serving);
    } catch (cause) {
      const tail = child.tail();
      await child.kill9();
      throw new Error(`${name} did not become ready\n${tail}`, { cause });
    }
  }

  /** Where clients find it. */
  get port(): number {
    if (this.#serving.port === undefined) throw new Error(`${this.child.name} serves no clients`);
    return this.#serving.port;
  }

  get adminPort(): number {
    return this.#serving.adminPort;
  }

  /** After a forced garbage collection. */
  async memory(): Promise<Memory> {
    return (await (await this.#admin('/debug/memory')).json()) as Memory;
  }

  async metrics(): Promise<Sample[]> {
    return parsePrometheusText(await (await this.#admin('/metrics')).text());
  }

  /** Status of the admin port's /readyz or /livez. */
  async health(path: '/readyz' | '/livez'): Promise<number> {
    return (await fetch(`http://127.0.0.1:${this.adminPort}${path}`)).status;
  }

  async #admin(path: string): Promise<Response> {
    const response = await fetch(`http://127.0.0.1:${this.adminPort}${path}`);
    if (!response.ok) throw new Error(`${path} of ${this.child.name}'s admin port: ${response.status}`);
    return response;
  }
}

/** The certificate authority in a kubeconfig that dogwatch wrote. */
export async function authorityIn(kubeconfigFile: string): Promise<string> {
  const data = /certificate-authority-data: *"?([\w+/=]+)/.exec(await readFile(kubeconfigFile, 'utf8'))?.[1];
  if (data === undefined) throw new Error('the kubeconfig that dogwatch wrote has no certificate-authority-data');
  return Buffer.from(data, 'base64').toString();
}

/** Without what would configure dogwatch on the machine of whoever runs the tests. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('DOGWATCH_') && name !== 'KUBECONFIG'),
  );
}

function assertAlive(child: Child): void {
  try {
    child.assertAlive();
  } catch (error) {
    throw new GiveUp(error);
  }
}

/** Ports from the log line {"msg":"serving","port":…,"adminPort":…}, once it is there. */
function servingLine(log: string): Serving | undefined {
  const line = log.split('\n').find((text) => text.includes('"msg":"serving"'));
  return line === undefined ? undefined : (JSON.parse(line) as Serving);
}
