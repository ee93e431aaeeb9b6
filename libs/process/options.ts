import assert from 'node:assert';
import { isIP } from 'node:net';
import { parseBytes, parseDuration, SyntaxProblem } from './quantity.ts';

/** The environment, as process.env. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A default that depends on the machine; `shown` stands for it in the help text. */
export interface ComputedDefault {
  readonly from: (env: Environment) => string;
  readonly shown: string;
}

interface Described {
  /** What it does, in full sentences; the type, bounds and default are added to it. */
  readonly help: string;
  /** What stands for the value in the help text, as in `--kubeconfig FILE`. */
  readonly placeholder?: string;
  /** The value is never shown. */
  readonly secret?: boolean;
  /** What more must hold of the text, of a list's items each. Throws SyntaxProblem. */
  readonly check?: (text: string) => void;
}

interface TextOption extends Described {
  /** A path is relative to the working directory; an address is an IP address. */
  readonly type: 'string' | 'path' | 'address';
  readonly default?: string | ComputedDefault;
  /** For paths that are read at start: a file must be there (see load-config.ts). */
  readonly mustExist?: boolean;
}

interface IntOption extends Described {
  readonly type: 'int';
  readonly default?: number;
  readonly min: number;
  readonly max: number;
  /** The value of the flag alone, as `-v`. */
  readonly bare?: number;
}

/** A number that may have a fraction. */
interface NumberOption extends Described {
  readonly type: 'number';
  readonly default?: number;
  readonly min: number;
  readonly max: number;
}

interface BoolOption extends Described {
  readonly type: 'bool';
  readonly default: boolean;
}

/** Milliseconds, or bytes. Default and bounds are written as Kubernetes writes them. */
interface MeasureOption extends Described {
  readonly type: 'duration' | 'bytes';
  readonly default?: string;
  readonly min: string;
  readonly max: string;
}

interface EnumOption extends Described {
  readonly type: 'enum';
  readonly values: readonly string[];
  readonly default?: string;
}

/** Comma-separated, and the flag may be repeated. */
interface ListOption extends Described {
  readonly type: 'list';
  readonly default: readonly string[];
  /** The command does not run without an item (see checkRequired). */
  readonly required?: boolean;
}

export type Option = TextOption | IntOption | NumberOption | BoolOption | MeasureOption | EnumOption | ListOption;

/** Every option of a command by its flag's name, in the order of the help text. */
export type OptionTable = Readonly<Record<string, Option>>;

export type OptionValue = string | number | boolean | readonly string[];

type ValueOf<O extends Option> = O extends IntOption | NumberOption | MeasureOption
  ? number
  : O extends BoolOption
    ? boolean
    : O extends ListOption
      ? readonly string[]
      : O extends { readonly type: 'enum'; readonly values: readonly (infer Value)[] }
        ? Value
        : string;

type CamelCase<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name;

/** The configuration a table describes: camel-case names; undefined only where there is no default. */
export type ConfigOf<Table extends OptionTable> = {
  readonly [Name in keyof Table as CamelCase<Name & string>]: Table[Name] extends { readonly default: unknown }
    ? ValueOf<Table[Name]>
    : ValueOf<Table[Name]> | undefined;
};

/** A table whose types are kept; asserts that names are kebab case and that defaults obey their own rules. */
export function defineOptions<const Table extends OptionTable>(table: Table): Table {
  for (const [name, option] of Object.entries(table)) {
    assert.match(name, /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/, `option ${name} is not kebab case`);
    const text = defaultText(option, {});
    if (text !== undefined) parseValue(option, text);
  }
  return table;
}

/** `bind-address` → `bindAddress`. */
export function camelCase(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** `bind-address` → `DOGWATCH_BIND_ADDRESS`. */
export function environmentName(name: string): string {
  return `DOGWATCH_${name.toUpperCase().replaceAll('-', '_')}`;
}

/** `--bind-address`, `-v`. */
export function flagName(name: string): string {
  return name.length === 1 ? `-${name}` : `--${name}`;
}

/** The default in the option's own syntax, or undefined if it has none. */
export function defaultText(option: Option, env: Environment): string | undefined {
  const value = option.default;
  if (value === undefined) return undefined;
  if (typeof value === 'object') return 'from' in value ? value.from(env) : value.join(',');
  return String(value);
}

/** The value of `text` in the option's syntax and within its bounds. Throws SyntaxProblem. */
export function parseValue(option: Option, text: string): OptionValue {
  const value = parseText(option, text);
  for (const item of typeof value === 'object' ? value : [text]) option.check?.(item);
  return value;
}

function parseText(option: Option, text: string): OptionValue {
  switch (option.type) {
    case 'string':
    case 'path':
      if (text === '') throw new SyntaxProblem('must not be empty');
      return text;
    case 'address':
      if (isIP(text) === 0)
        throw new SyntaxProblem(`${JSON.stringify(text)} is not an IP address such as 127.0.0.1 or ::`);
      return text;
    case 'int':
      return parseInteger(text, option);
    case 'number':
      return parseNumber(text, option);
    case 'bool':
      if (text !== 'true' && text !== 'false')
        throw new SyntaxProblem(`${JSON.stringify(text)} is neither true nor false`);
      return text === 'true';
    case 'duration':
      return within(text, option, parseDuration);
    case 'bytes':
      return within(text, option, parseBytes);
    case 'enum':
      if (!option.values.includes(text)) {
        throw new SyntaxProblem(`${JSON.stringify(text)} is not one of ${option.values.join(', ')}`);
      }
      return text;
    case 'list':
      return text === '' ? [] : text.split(',').map(listItem);
  }
}

function parseInteger(text: string, { min, max }: IntOption): number {
  const value = Number(text);
  if (!/^-?\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new SyntaxProblem(`${JSON.stringify(text)} is not a whole number`);
  }
  if (value < min || value > max) throw new SyntaxProblem(`${text} is not between ${min} and ${max}`);
  return value;
}

function parseNumber(text: string, { min, max }: NumberOption): number {
  if (!/^-?(\d+(\.\d*)?|\.\d+)$/.test(text)) throw new SyntaxProblem(`${JSON.stringify(text)} is not a number`);
  const value = Number(text);
  if (value < min || value > max) throw new SyntaxProblem(`${text} is not between ${min} and ${max}`);
  return value;
}

function within(text: string, { min, max }: MeasureOption, parse: (text: string) => number): number {
  const value = parse(text);
  if (value < parse(min) || value > parse(max)) throw new SyntaxProblem(`${text} is not between ${min} and ${max}`);
  return value;
}

function listItem(text: string): string {
  const item = text.trim();
  if (item === '') throw new SyntaxProblem('has an empty item; separate items by single commas');
  return item;
}
