import { accessSync, constants, statSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Environment } from '@dogwatch/process/options.ts';
import type { ChildPlan, Serving } from './child-service.ts';

const PROGRAM = 'nats-server';
/** Room for the largest object of a cluster in one message. */
const MAX_PAYLOAD_BYTES = 4 * 1024 * 1024;

/** There is no nats-server to start; the message says how to get one. */
export class NatsServerMissing extends Error {
  readonly code = 'NatsServerMissing';
}

/** Path of the nats-server to start: `given`, else the first on the PATH. Throws NatsServerMissing. */
export function findNatsServer(given: string | undefined, env: Environment): string {
  if (given !== undefined) return given;
  const directories = (env['PATH'] ?? '').split(delimiter).filter((directory) => directory !== '');
  const found = directories.map((directory) => join(directory, PROGRAM)).find(isProgram);
  if (found !== undefined) return found;
  throw new NatsServerMissing(
    'found no nats-server on the PATH: install it (brew install nats-server, go install github.com/nats-io/nats-server/v2@latest ' +
      'or https://github.com/nats-io/nats-server/releases), or name it by --nats-server-bin or DOGWATCH_NATS_SERVER_BIN',
  );
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false; // Not here: the next directory of the PATH may have it.
  }
}

/** A server of its own with JetStream, on free ports of 127.0.0.1, its configuration and store in `dataDir`. */
export async function planNats(of: {
  binary: string;
  dataDir: string;
  logFile: string;
  env: Environment;
}): Promise<ChildPlan> {
  const name = 'nats-0';
  const directory = join(of.dataDir, name);
  const portsDir = join(directory, 'ports');
  // What a killed server left there would be taken for ours.
  await rm(portsDir, { recursive: true, force: true });
  await mkdir(portsDir, { recursive: true, mode: 0o700 });
  const configFile = join(directory, 'nats-server.conf');
  const lines = [
    `server_name: ${name}`,
    'listen: "127.0.0.1:-1"',
    'http: "127.0.0.1:-1"',
    `max_payload: ${MAX_PAYLOAD_BYTES}`,
    `ports_file_dir: ${JSON.stringify(portsDir)}`,
    `jetstream { store_dir: ${JSON.stringify(join(directory, 'store'))} }`,
  ];
  await writeFile(configFile, `${lines.join('\n')}\n`, { mode: 0o600 });
  return {
    name,
    script: fileURLToPath(new URL('nats-keeper.main.ts', import.meta.url)),
    args: [of.binary, '-c', configFile],
    env: of.env,
    logFile: of.logFile,
    probe: () => probe(portsDir),
  };
}

/** The server writes its ports into a file named after its pid once it listens; its JetStream may need longer. */
async function probe(portsDir: string): Promise<Serving | undefined> {
  const [file] = await readdir(portsDir);
  const pid = /^nats-server_(\d+)\.ports$/.exec(file ?? '')?.[1];
  if (file === undefined || pid === undefined) return undefined;
  const text = await readFile(join(portsDir, file), 'utf8');
  if (!text.endsWith('}')) return undefined;
  const { nats, monitoring } = JSON.parse(text) as { nats: [string]; monitoring: [string] };
  const health = await fetch(new URL('/healthz', monitoring[0])).catch(() => undefined);
  if (health?.ok !== true) return undefined;
  return { pid: Number(pid), ports: { client: portOf(nats[0]), monitor: portOf(monitoring[0]) } };
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}
