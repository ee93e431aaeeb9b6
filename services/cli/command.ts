import { ConfigError } from '@dogwatch/process/config.ts';
import { renderConfigView, renderHelp } from '@dogwatch/process/config-text.ts';
import { onSignals } from '@dogwatch/process/lifecycle.ts';
import { checkFiles, loadConfig } from '@dogwatch/process/load-config.ts';
import { nearestName } from '@dogwatch/process/nearest-name.ts';
import type { Environment } from '@dogwatch/process/options.ts';
import { version } from '@dogwatch/process/version.ts';
import { checkSidecarConfig, sidecarOptions } from '@dogwatch/sidecar/config.ts';
import { describeFailure, type ExitCode, VerboseFailure } from './failure.ts';

/** What a command reads and writes besides its arguments. */
export interface Terminal {
  readonly env: Environment;
  out(text: string): void;
  err(text: string): void;
}

interface Command {
  readonly summary: string;
  readonly help: string;
  /** Resolves when it has ended well; rejects with what the operator should read. */
  run(argv: readonly string[], terminal: Terminal): Promise<void>;
}

const SOURCES = `Every option can also be given as an environment variable (--secure-port as DOGWATCH_SECURE_PORT) or
as a key of the JSON file that --config names ("secure-port"). A flag wins over the environment, the
environment over the file. Durations and sizes are written as in Kubernetes: 1m30s, 512Mi.
`;

const COMMANDS: Readonly<Record<string, Command>> = {
  sidecar: {
    summary: 'Serve the API of one cluster, watching it once for all clients',
    help: `Usage: dogwatch sidecar [OPTION...]

Stands in front of kube-apiserver: LIST and WATCH are answered from its own watch caches, everything
else is passed through. Point clients at it with the kubeconfig that --write-kubeconfig writes.

  dogwatch sidecar --kubeconfig ~/.kube/config --write-kubeconfig dogwatch.kubeconfig
  kubectl --kubeconfig dogwatch.kubeconfig get pods --watch

${SOURCES}
Options:
${renderHelp(sidecarOptions)}`,
    run: runSidecarCommand,
  },
  config: {
    summary: 'With "view": show the value and the source of every option of sidecar',
    help: `Usage: dogwatch config view [OPTION of sidecar...]\n\n${SOURCES}`,
    run: viewConfig,
  },
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

const HELP = `dogwatch ${version}: a watch fan-out tier in front of kube-apiserver

Usage: dogwatch COMMAND [OPTION...]

Commands:
${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}\n`)
  .join('')}  help      Show this, or with the name of a command its options

Exit codes: 0 well, 1 failure, 2 bad input.
`;

/** From this klog verbosity on, errors come with their stack. */
const STACK_VERBOSITY = 4;

const HELP_FLAGS: ReadonlySet<string> = new Set(['--help', '-h']);

/** Runs the command `argv` names until it ends, tells the operator about an error, and returns the exit code. */
export async function runCommand(argv: readonly string[], terminal: Terminal): Promise<ExitCode> {
  try {
    await dispatch(argv, terminal);
    return 0;
  } catch (error) {
    const { text, exitCode } = describeFailure(error);
    terminal.err(text);
    return exitCode;
  }
}

async function dispatch(argv: readonly string[], terminal: Terminal): Promise<void> {
  const [name = 'help', ...rest] = argv;
  if (name === 'help' || HELP_FLAGS.has(name)) return showHelp(rest, terminal);
  const command = find(name === '--version' ? 'version' : name);
  if (rest.some((argument) => HELP_FLAGS.has(argument))) return terminal.out(command.help);
  await command.run(rest, terminal);
}

function showHelp([name, ...rest]: readonly string[], terminal: Terminal): void {
  refuseArguments('help', rest);
  terminal.out(name === undefined ? HELP : find(name).help);
}

function find(name: string): Command {
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command !== undefined) return command;
  const nearest = nearestName(name, [...Object.keys(COMMANDS), 'help']);
  const hint = nearest === undefined ? 'see "dogwatch help"' : `did you mean "dogwatch ${nearest}"?`;
  throw new ConfigError('UnknownOption', `unknown command ${JSON.stringify(name)}; ${hint}`);
}

async function runSidecarCommand(argv: readonly string[], { env }: Terminal): Promise<void> {
  const resolved = loadConfig(sidecarOptions, { argv, env });
  const config = checkSidecarConfig(resolved);
  checkFiles(sidecarOptions, resolved);
  const signal = onSignals();
  const { runSidecar } = await import('@dogwatch/sidecar/sidecar.ts');
  try {
    await runSidecar(config, signal);
  } catch (error) {
    throw config.v >= STACK_VERBOSITY ? new VerboseFailure(error) : error;
  }
}

function viewConfig([verb, ...argv]: readonly string[], terminal: Terminal): Promise<void> {
  if (verb !== 'view') throw new ConfigError('UnknownOption', 'unknown config command; use "dogwatch config view"');
  terminal.out(renderConfigView(loadConfig(sidecarOptions, { argv, env: terminal.env })));
  return Promise.resolve();
}

function refuseArguments(command: string, [unexpected]: readonly string[]): void {
  if (unexpected === undefined) return;
  throw new ConfigError(
    'UnknownOption',
    `unexpected argument ${JSON.stringify(unexpected)} after "dogwatch ${command}"`,
  );
}
