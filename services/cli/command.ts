import { ConfigError } from '@dogwatch/process/config.ts';
import { nearestName } from '@dogwatch/process/nearest-name.ts';
import { version } from '@dogwatch/process/version.ts';
import { type Command, COMMANDS, refuseArguments, type Terminal } from './commands.ts';
import { describeFailure, type ExitCode } from './failure.ts';

const HELP = `dogwatch ${version}: a watch fan-out tier in front of kube-apiserver

Usage: dogwatch COMMAND [OPTION...]

Commands:
${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}\n`)
  .join('')}  help      Show this, or with the name of a command its options

Exit codes: 0 well, 1 failure, 2 bad input; of verify 3, differences found.
`;

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
  const named = find(name === '--version' ? 'version' : name);
  const [first = '', ...others] = rest;
  const verb = named.verbs !== undefined && Object.hasOwn(named.verbs, first) ? named.verbs[first] : undefined;
  const command = verb ?? named;
  if (rest.some((argument) => HELP_FLAGS.has(argument))) return terminal.out(command.help);
  await command.run(verb === undefined ? rest : others, terminal);
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
