import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { ConfigError, type ConfigInput, earlyValue, type ResolvedConfig, resolveConfig } from './config.ts';
import { camelCase, flagName, type OptionTable, type OptionValue } from './options.ts';

/** resolveConfig with the file that --config or DOGWATCH_CONFIG names, if any. */
export function loadConfig<const Table extends OptionTable>(
  table: Table,
  input: Omit<ConfigInput, 'file'>,
): ResolvedConfig<Table> {
  const path = earlyValue(table, 'config', input);
  if (path === undefined) return resolveConfig(table, input);
  return resolveConfig(table, { ...input, file: { path, text: readText(path) } });
}

/** Throws a ConfigError for the first option of the table whose file must exist and cannot be read. */
export function checkFiles<Table extends OptionTable>(table: Table, { config }: ResolvedConfig<Table>): void {
  for (const [name, option] of Object.entries(table)) {
    const path = (config as Record<string, OptionValue | undefined>)[camelCase(name)];
    if (option.type !== 'path' || option.mustExist !== true || typeof path !== 'string') continue;
    try {
      if (statSync(path).isDirectory()) throw new ConfigError('BadOption', `${flagName(name)}: ${path} is a directory`);
      accessSync(path, constants.R_OK);
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      throw new ConfigError('BadOption', `${flagName(name)}: cannot read ${path}: ${reason(error)}`, { cause: error });
    }
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError('BadConfigFile', `cannot read configuration file ${path}: ${reason(error)}`, {
      cause: error,
    });
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of the path is not a directory',
};

function reason(error: unknown): string {
  const { code = '', message } = error as NodeJS.ErrnoException;
  return REASONS[code] ?? message;
}
