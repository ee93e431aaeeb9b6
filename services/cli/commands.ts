import { checkFanoutConfig, fanoutOptions } from '@dogwatch/cluster/fanout-config.ts';
import { checkIngestConfig, ingestOptions } from '@dogwatch/cluster/ingest-config.ts';
import { checkLocalConfig, localOptions } from '@dogwatch/cluster/local-config.ts';
import { checkShardConfig, shardOptions } from '@dogwatch/cluster/shard-config.ts';
import { checkStatusConfig, statusOptions } from '@dogwatch/cluster/status-config.ts';
import { checkRequired, ConfigError, type ResolvedConfig } from '@dogwatch/process/config.ts';
import { renderConfigView, renderHelp } from '@dogwatch/process/config-text.ts';
import { onSignals } from '@dogwatch/process/lifecycle.ts';
import { checkFiles, loadConfig } from '@dogwatch/process/load-config.ts';
import type { Environment, OptionTable } from '@dogwatch/process/options.ts';
import { version } from '@dogwatch/process/version.ts';
import { checkSidecarConfig, sidecarOptions } from '@dogwatch/sidecar/config.ts';
import { checkVerifyConfig, verifyOptions } from '@dogwatch/verify/verify-config.ts';
import { checkWatchConfig, watchOptions } from '@dogwatch/verify/watch-config.ts';
import { VerboseFailure } from './failure.ts';

/** What a command reads and writes besides its arguments. */
export interface Terminal {
  readonly env: Environment;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

export interface Command {
  readonly summary: string;
  readonly help: string;
  /** Commands of their own by the word that follows this one's name. */
  readonly verbs?: Readonly<Record<string, Command>>;
  /** Resolves when it has ended well; rejects with what the operator should read. */
  run(argv: readonly string[], terminal: Terminal): Promise<void>;
}

/** From this klog verbosity on, errors come with their stack. */
const STACK_VERBOSITY = 4;

const SOURCES = `Every option can also be given as an environment variable (--admin-port as DOGWATCH_ADMIN_PORT) or
as a key of the JSON file that --config names ("admin-port"). A flag wins over the environment, the
environment over the file. Durations and sizes are written as in Kubernetes: 1m30s, 512Mi.
`;

/** Options by the command that has them. */
const TABLES = {
  sidecar: sidecarOptions,
  ingest: ingestOptions,
  shard: shardOptions,
  fanout: fanoutOptions,
} as const satisfies Record<string, OptionTable>;

/** The environment may hold options of other commands: somebody exports DOGWATCH_NATS_SERVERS for all of them. */
const foreign: ReadonlySet<string> = new Set(
  [...Object.values(TABLES), statusOptions, localOptions, verifyOptions, watchOptions].flatMap((table) =>
    Object.keys(table),
  ),
);

interface Configured<Table extends OptionTable, Config extends { readonly v: number }> {
  readonly summary: string;
  readonly about: string;
  readonly usage: string;
  readonly table: Table;
  check(resolved: ResolvedConfig<Table>): Config;
  run(config: Config, terminal: Terminal): Promise<void>;
}

function configured<Table extends OptionTable, Config extends { readonly v: number }>(
  of: Configured<Table, Config>,
): Command {
  return {
    summary: of.summary,
    help: `Usage: dogwatch ${of.usage} [OPTION...]\n\n${of.about}\n${SOURCES}\nOptions:\n${renderHelp(of.table)}`,
    async run(argv, terminal) {
      const resolved = loadConfig(of.table, { argv, env: terminal.env, foreign });
      checkRequired(of.table, resolved);
      const config = of.check(resolved);
      checkFiles(of.table, resolved);
      try {
        await of.run(config, terminal);
      } catch (error) {
        throw config.v >= STACK_VERBOSITY ? new VerboseFailure(error) : error;
      }
    },
  };
}

const sidecar = configured({
  usage: 'sidecar',
  summary: 'Serve the API of one cluster, watching it once for all clients',
  about: `Stands in front of kube-apiserver: LIST and WATCH are answered from its own watch caches, everything
else is passed through. Point clients at it with the kubeconfig that --write-kubeconfig writes.

  dogwatch sidecar --kubeconfig ~/.kube/config --write-kubeconfig dogwatch.kubeconfig
  kubectl --kubeconfig dogwatch.kubeconfig get pods --watch
`,
  table: sidecarOptions,
  check: checkSidecarConfig,
  async run(config) {
    const signal = onSignals();
    const { runSidecar } = await import('@dogwatch/sidecar/sidecar.ts');
    await runSidecar(config, signal);
  },
});

const ingest = configured({
  usage: 'ingest --nats-servers HOST:PORT,...',
  summary: 'Read kube-apiserver once and publish it on NATS (distributed form)',
  about: `Of all ingests, one leads each resource: it watches it upstream and publishes what it reads. The others
stand by and take over within seconds. Two are enough.
`,
  table: ingestOptions,
  check: checkIngestConfig,
  async run(config) {
    const signal = onSignals();
    const { runIngest } = await import('@dogwatch/cluster/ingest-process.ts');
    await runIngest(config, signal);
  },
});

const shard = configured({
  usage: 'shard --nats-servers HOST:PORT,...',
  summary: 'Keep watch caches of the partitions it owns (distributed form)',
  about: `Every partition of a resource is kept by two shards, chosen among those that live. A fan-out that begins to
follow a partition takes its state from one of them.
`,
  table: shardOptions,
  check: checkShardConfig,
  async run(config) {
    const signal = onSignals();
    const { runShard } = await import('@dogwatch/cluster/shard-process.ts');
    await runShard(config, signal);
  },
});

const fanout = configured({
  usage: 'fanout --nats-servers HOST:PORT,...',
  summary: 'Serve the API to clients from what ingest publishes (distributed form)',
  about: `Any number of fan-outs serve the same: LIST and WATCH are answered from their caches, everything else is
passed through to kube-apiserver. A client may go on at any of them, or at kube-apiserver.
`,
  table: fanoutOptions,
  check: checkFanoutConfig,
  async run(config) {
    const signal = onSignals();
    const { runFanout } = await import('@dogwatch/cluster/fanout-process.ts');
    await runFanout(config, signal);
  },
});

const up = configured({
  usage: 'cluster up --local',
  summary: 'With "up --local": run the whole distributed form on this machine',
  about: `Starts nats-server, two ingests, two shards and two fan-outs as processes on 127.0.0.1, says where they are,
and stops them at Ctrl-C. If one of them ends, all are stopped. DOGWATCH_ variables of their options are
handed on to them.

  dogwatch cluster up --local --kubeconfig ~/.kube/config --write-kubeconfig dogwatch.kubeconfig
  kubectl --kubeconfig dogwatch.kubeconfig get pods --watch
`,
  table: localOptions,
  check: checkLocalConfig,
  async run(config, { env, out }) {
    const signal = onSignals();
    const { runLocalCluster } = await import('@dogwatch/cluster/local-cluster.ts');
    await runLocalCluster(config, { signal, env, out, main: new URL('main.ts', import.meta.url) });
  },
});

const cluster: Command = {
  ...up,
  async run([verb, ...argv], terminal) {
    if (verb !== 'up') {
      throw new ConfigError('UnknownOption', 'unknown cluster command; use "dogwatch cluster up --local"');
    }
    await up.run(argv, terminal);
  },
};

const status = configured({
  usage: 'status --nats-servers HOST:PORT,...',
  summary: 'Show lanes, partitions, fan-outs and members of the distributed form',
  about: `Asks every process that lives, through NATS, what it holds and how far it is.
`,
  table: statusOptions,
  check: checkStatusConfig,
  async run(config, { out }) {
    const { showStatus } = await import('@dogwatch/cluster/status.ts');
    await showStatus(config, out);
  },
});

const verifyWatch = configured({
  usage: 'verify watch --kubeconfig FILE --url URL --resource G/V/R',
  summary: 'Hold what watches through a dogwatch are told against what happened',
  about: `Opens watches of many interests through a dogwatch, goes on with those that end, and watches the same
resource once at kube-apiserver itself. At the end each stream is held against that: nothing lost, doubled, out of
order, not selected or as it never was, no bookmark ahead of events. It only reads. Each violation names the
promise and shows the few events that break it; exit code 3 means there are some.

  dogwatch verify watch --kubeconfig ~/.kube/config --url https://127.0.0.1:6443 --certificate-authority ca.crt \\
    --resource coordination.k8s.io/v1/leases --duration 5m --watches 500
`,
  table: watchOptions,
  check: checkWatchConfig,
  async run(config, { env, out }) {
    const signal = onSignals();
    const { runWatchVerify } = await import('@dogwatch/verify/watch-verify.ts');
    await runWatchVerify(config, { env, signal, out });
  },
});

const verify = configured({
  usage: 'verify --kubeconfig FILE --url URL',
  summary: 'Compare the answers of a dogwatch with those of kube-apiserver',
  about: `Sends random requests to both, byte for byte the same, and compares status, headers, bodies and watch events.
It only reads unless --write is given. Each difference comes with what repeats it; exit code 3 means there are
some. Of Secrets and credentials nothing is shown. What many watches are told over time is checked by
"dogwatch verify watch"; see its --help.

  dogwatch verify --kubeconfig ~/.kube/config --url https://127.0.0.1:6443 --certificate-authority ca.crt
`,
  table: verifyOptions,
  check: checkVerifyConfig,
  async run(config, { env, out, err }) {
    const signal = onSignals();
    const { runVerify } = await import('@dogwatch/verify/verify.ts');
    const progress = process.stderr.isTTY ? err : undefined;
    await runVerify(config, { env, signal, out, progress });
  },
});

const config: Command = {
  summary: 'With "view": show the value and the source of every option of a command',
  help: `Usage: dogwatch config view [${Object.keys(TABLES).join('|')}] [OPTION...]\n\nWithout a name: sidecar.\n\n${SOURCES}`,
  run([verb, ...argv], { env, out }) {
    if (verb !== 'view') throw new ConfigError('UnknownOption', 'unknown config command; use "dogwatch config view"');
    const named = argv[0] === undefined || argv[0].startsWith('-') ? undefined : argv.shift();
    out(renderConfigView(loadConfig(tableOf(named ?? 'sidecar'), { argv, env, foreign })));
    return Promise.resolve();
  },
};

function tableOf(name: string): OptionTable {
  const table = Object.entries(TABLES).find(([known]) => known === name)?.[1];
  if (table !== undefined) return table;
  const known = Object.keys(TABLES).join(', ');
  throw new ConfigError('UnknownOption', `no options of ${JSON.stringify(name)} to view; use one of ${known}`);
}

export const COMMANDS: Readonly<Record<string, Command>> = {
  sidecar,
  ingest,
  shard,
  fanout,
  cluster,
  status,
  verify: { ...verify, verbs: { watch: verifyWatch } },
  config,
  version: {
    summary: 'Show the version',
    help: 'Usage: dogwatch version\n',
    run: (argv, terminal) => {
      refuseArguments('version', argv);
      terminal.out(`dogwatch ${version} (Node ${process.version}, ${process.platform}-${process.arch})\n`);
      return Promise.resolve();
    },
  },
};

/** Throws ConfigError if there are any. */
export function refuseArguments(command: string, [unexpected]: readonly string[]): void {
  if (unexpected === undefined) return;
  throw new ConfigError(
    'UnknownOption',
    `unexpected argument ${JSON.stringify(unexpected)} after "dogwatch ${command}"`,
  );
}
