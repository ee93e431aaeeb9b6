import { nearestName } from './nearest-name.ts';
import {
  camelCase,
  type ConfigOf,
  defaultText,
  type Environment,
  environmentName,
  flagName,
  type Option,
  type OptionTable,
  type OptionValue,
  parseValue,
} from './options.ts';
import { SyntaxProblem } from './quantity.ts';

/** Bad input by the operator. The message is one line that names the culprit and says what to do. */
export class ConfigError extends Error {
  readonly code: 'UnknownOption' | 'BadOption' | 'MissingOption' | 'BadConfigFile' | 'ConflictingOptions';

  constructor(code: ConfigError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Where a value came from: `flag`, `env NAME`, `file PATH` or `default`. */
export interface Setting {
  readonly name: string;
  /** The value in the option's own syntax; undefined if it has none. Hidden if the option is secret. */
  readonly text: string | undefined;
  readonly source: string;
}

export interface ResolvedConfig<Table extends OptionTable> {
  readonly config: ConfigOf<Table>;
  /** Every option in the order of the table. */
  readonly settings: readonly Setting[];
  /** Whether the operator gave the option anywhere, rather than its default holding. */
  given(name: keyof Table & string): boolean;
}

export interface ConfigInput {
  /** Flags as on the command line: `--name=value`, `--name value`, `--name` alone for booleans, `-v`, `-v=4`. */
  readonly argv: readonly string[];
  readonly env: Environment;
  /** Options of other commands, which the environment may hold as well. */
  readonly foreign?: ReadonlySet<string>;
  /** A configuration file: one JSON object whose keys are the flags' names. */
  readonly file?: { readonly path: string; readonly text: string };
}

interface Given {
  readonly text: string;
  readonly source: string;
  /** What an error calls it. */
  readonly culprit: string;
}

type GivenValues = ReadonlyMap<string, Given>;

/**
 * The configuration of `table`: a flag wins over the environment, that over the file, that over the default.
 * An unknown name in any of them is a ConfigError, and so is a value that cannot be read; values that a stronger source
 * overrides are not read.
 */
export function resolveConfig<const Table extends OptionTable>(
  table: Table,
  input: ConfigInput,
): ResolvedConfig<Table> {
  const sources = [readFlags(table, input.argv), readEnvironment(table, input), readFile(table, input.file)];
  const config: Record<string, OptionValue | undefined> = {};
  const settings: Setting[] = [];
  const named = new Set<string>();
  for (const [name, option] of Object.entries(table)) {
    const given = sources.map((source) => source.get(name)).find((value) => value !== undefined);
    const text = given?.text ?? defaultText(option, input.env);
    if (given !== undefined) named.add(name);
    config[camelCase(name)] = text === undefined ? undefined : parse(option, text, given?.culprit ?? name);
    settings.push({
      name,
      text: option.secret === true && text !== undefined ? '(hidden)' : text,
      source: given?.source ?? 'default',
    });
  }
  return { config: config as ConfigOf<Table>, settings, given: (name) => named.has(name) };
}

/** The value of one option from the flags or the environment alone, as for `--config`, which names the file to read. */
export function earlyValue(table: OptionTable, name: string, input: ConfigInput): string | undefined {
  return (readFlags(table, input.argv).get(name) ?? readEnvironment(table, input).get(name))?.text;
}

/** Throws a ConfigError for the first option of the table that must be given and is not. */
export function checkRequired<Table extends OptionTable>(table: Table, resolved: ResolvedConfig<Table>): void {
  for (const [name, option] of Object.entries(table)) {
    if (option.type !== 'list' || option.required !== true) continue;
    const given = (resolved.config as Readonly<Record<string, OptionValue | undefined>>)[camelCase(name)];
    if (Array.isArray(given) && given.length > 0) continue;
    const usage = `${flagName(name)}=${placeholder(option)}`;
    throw new ConfigError('MissingOption', `${usage} is missing; ${environmentName(name)} can say it as well`);
  }
}

function parse(option: Option, text: string, culprit: string): OptionValue {
  try {
    return parseValue(option, text);
  } catch (error) {
    if (!(error instanceof SyntaxProblem)) throw error;
    const shown = option.secret === true ? 'has a value that cannot be read' : error.message;
    throw new ConfigError('BadOption', `${culprit}: ${shown}`);
  }
}

function readFlags(table: OptionTable, argv: readonly string[]): GivenValues {
  const values = new Map<string, Given>();
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i]!;
    const match = /^--?([^-=][^=]*)(?:=([^]*))?$/.exec(argument);
    if (match === null) {
      throw new ConfigError('UnknownOption', `unexpected argument ${JSON.stringify(argument)}; options begin with --`);
    }
    const [, name, attached] = match as unknown as [string, string, string | undefined];
    const option =
      Object.hasOwn(table, name) && (argument.startsWith('--') || name.length === 1) ? table[name] : undefined;
    if (option === undefined) throw unknownName(`flag ${argument.split('=')[0]}`, name, Object.keys(table), flagName);
    const culprit = flagName(name);
    let text = attached ?? bareValue(option, argv[i + 1]);
    if (text === undefined) {
      i += 1;
      text = argv[i];
      if (text === undefined || text.startsWith('--'))
        throw new ConfigError('BadOption', `${culprit} needs a value: ${culprit}=${placeholder(option)}`);
    }
    const before = option.type === 'list' ? values.get(name) : undefined;
    values.set(name, { text: before === undefined ? text : `${before.text},${text}`, source: 'flag', culprit });
  }
  return values;
}

/** The value of a flag given alone, or undefined if its value is the next argument. */
function bareValue(option: Option, next: string | undefined): string | undefined {
  if (option.type === 'bool') return 'true';
  if (option.type === 'int' && option.bare !== undefined && !/^\d+$/.test(next ?? '')) return String(option.bare);
  return undefined;
}

/**
 * Variables that Kubernetes sets in every pod for a Service whose name begins with "dogwatch"; for a Service
 * "dogwatch-admin" one of them is DOGWATCH_ADMIN_PORT=tcp://10.0.0.1:6480.
 */
const SERVICE_LINK = /_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)$/;
const SERVICE_LINK_VALUE = /^(?:tcp|udp|sctp):\/\//;

function readEnvironment(table: OptionTable, { env, foreign }: ConfigInput): GivenValues {
  const others = new Set([...(foreign ?? [])].map(environmentName));
  const names = new Map(Object.keys(table).map((name) => [environmentName(name), name]));
  const values = new Map<string, Given>();
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith('DOGWATCH_') || text === undefined || text === '') continue;
    const name = names.get(variable);
    if (SERVICE_LINK.test(variable) && (name === undefined || SERVICE_LINK_VALUE.test(text))) continue;
    if (name === undefined && others.has(variable)) continue;
    if (name === undefined) throw unknownName(`environment variable ${variable}`, variable, names.keys(), String);
    values.set(name, { text, source: `env ${variable}`, culprit: variable });
  }
  return values;
}

function readFile(table: OptionTable, file: ConfigInput['file']): GivenValues {
  const values = new Map<string, Given>();
  if (file === undefined) return values;
  for (const [name, value] of Object.entries(parseFile(file))) {
    const culprit = `${file.path}: ${JSON.stringify(name)}`;
    if (!Object.hasOwn(table, name)) {
      throw unknownName(`key ${JSON.stringify(name)} in ${file.path}`, name, Object.keys(table), JSON.stringify);
    }
    if (name === 'config')
      throw new ConfigError('BadConfigFile', `${culprit}: a configuration file cannot name another`);
    values.set(name, { text: fileText(table[name]!, value, culprit), source: `file ${file.path}`, culprit });
  }
  return values;
}

function parseFile({ path, text }: { path: string; text: string }): Record<string, unknown> {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (cause) {
    // Only the position: the message itself may quote the file, and with it a secret.
    const [position = ''] = /\(line \d+ column \d+\)/.exec(String(cause)) ?? [];
    throw new ConfigError('BadConfigFile', `${path} is not JSON ${position}`.trimEnd());
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new ConfigError('BadConfigFile', `${path} must hold one JSON object, such as {"secure-port": 6443}`);
  }
  return content as Record<string, unknown>;
}

const FILE_FORMS: Partial<Record<Option['type'], string>> = {
  int: 'a whole number',
  number: 'a number',
  bytes: 'a number of bytes or a string such as "512Mi"',
  bool: 'true or false',
  list: 'a list of strings',
};

/** A file's value in the option's own syntax: numbers, booleans and lists may be written as JSON has them. */
function fileText(option: Option, value: unknown, culprit: string): string {
  if (typeof value === 'string') return value;
  if ((option.type === 'int' || option.type === 'number') && typeof value === 'number') return String(value);
  if (option.type === 'bytes' && typeof value === 'number') return String(value);
  if (option.type === 'bool' && typeof value === 'boolean') return String(value);
  if (option.type === 'list' && Array.isArray(value) && value.every((item) => typeof item === 'string'))
    return value.join(',');
  throw new ConfigError('BadOption', `${culprit}: must be ${FILE_FORMS[option.type] ?? 'a string'}`);
}

function unknownName(what: string, name: string, known: Iterable<string>, show: (name: string) => string): ConfigError {
  const nearest = nearestName(name, known);
  const hint = nearest === undefined ? 'see --help for the known ones' : `did you mean ${show(nearest)}?`;
  return new ConfigError('UnknownOption', `unknown ${what}; ${hint}`);
}

/** What stands for the value of an option: `FILE`, `10m`, `auto|json`. */
export function placeholder(option: Option): string {
  if (option.placeholder !== undefined) return option.placeholder;
  switch (option.type) {
    case 'enum':
      return option.values.join('|');
    case 'path':
      return 'FILE';
    case 'address':
      return 'IP';
    case 'int':
    case 'number':
      return 'N';
    case 'bool':
      return 'true|false';
    case 'duration':
      return 'DURATION';
    case 'bytes':
      return 'BYTES';
    case 'list':
      return 'A,B,...';
    case 'string':
      return 'TEXT';
  }
}
