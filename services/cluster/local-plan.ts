import { join } from 'node:path';
import { type Environment, environmentName, type OptionTable } from '@dogwatch/process/options.ts';
import { fanoutOptions } from './fanout-config.ts';
import { ingestOptions } from './ingest-config.ts';
import type { LocalConfig } from './local-config.ts';
import type { Role } from './member-options.ts';
import { shardOptions } from './shard-config.ts';

/** How many there are of each role, in the order in which they are shown. */
export const ROLES: readonly Role[] = ['ingest', 'shard', 'fanout'];
export const COPIES = 2;

const TABLES: Readonly<Record<Role, OptionTable>> = {
  ingest: ingestOptions,
  shard: shardOptions,
  fanout: fanoutOptions,
};

/** NATS reserves what it may be given to store, and this machine has one disk. The environment may say otherwise. */
const DEFAULTS: Readonly<Record<Role, Readonly<Record<string, string>>>> = {
  ingest: { 'log-bytes': '64Mi' },
  shard: { 'checkpoint-bytes': '512Mi' },
  fanout: {},
};

/** Files of a cluster on this machine. */
export interface LocalFiles {
  readonly dataDir: string;
  readonly certDir: string;
  /** What it writes for kubectl. */
  readonly kubeconfig: string;
  /** Of the process with this name; begins anew with each start. */
  log(name: string): string;
}

export function localFiles(config: LocalConfig): LocalFiles {
  const { dataDir } = config;
  return {
    dataDir,
    certDir: join(dataDir, 'certs'),
    kubeconfig: config.writeKubeconfig ?? join(dataDir, 'dogwatch.kubeconfig'),
    log: (name) => join(dataDir, `${name}.log`),
  };
}

export interface MemberPlan {
  readonly role: Role;
  readonly name: string;
  readonly env: Environment;
}

/** One process of the cluster: its name, and its configuration as environment variables, as the Helm chart gives it. */
export function planMember(
  role: Role,
  index: number,
  of: { config: LocalConfig; files: LocalFiles; natsServer: string; env: Environment },
): MemberPlan {
  const { config, files, natsServer } = of;
  const name = `${role}-${index}`;
  const options: Record<string, string | undefined> = {
    name,
    'nats-servers': natsServer,
    'nats-replicas': '1',
    'admin-address': '127.0.0.1',
    'admin-port': '0',
    'log-format': 'json',
    v: String(config.v),
  };
  if (role !== 'shard') Object.assign(options, { kubeconfig: config.kubeconfig, context: config.context });
  if (role === 'fanout') {
    Object.assign(options, { 'bind-address': '127.0.0.1', 'secure-port': '0', 'cert-dir': files.certDir });
    if (index === 0) options['write-kubeconfig'] = files.kubeconfig;
  }
  const given = inherited(of.env, TABLES[role]);
  return { role, name, env: { ...asEnvironment(DEFAULTS[role]), ...given, ...asEnvironment(options) } };
}

/** The environment without the variables of other commands, and without the file that configures this one. */
function inherited(env: Environment, table: OptionTable): Environment {
  const known = new Set(Object.keys(table).map(environmentName));
  known.delete(environmentName('config'));
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('DOGWATCH_') || known.has(name)));
}

function asEnvironment(options: Readonly<Record<string, string | undefined>>): Environment {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([name, value]) => [environmentName(name), value]));
}
