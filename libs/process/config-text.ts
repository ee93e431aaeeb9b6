import { placeholder, type ResolvedConfig } from './config.ts';
import { defaultText, flagName, type Option, type OptionTable } from './options.ts';

const WIDTH = 100;
const INDENT = '      ';

/** The options of a table as a help text: flag and value, and below it what it does, its bounds and its default. */
export function renderHelp(table: OptionTable): string {
  return Object.entries(table)
    .map(([name, option]) => `  ${usage(name, option)}\n${wrap([option.help, ...facts(option)].join(' '))}\n`)
    .join('');
}

function usage(name: string, option: Option): string {
  if (option.type === 'bool') return flagName(name);
  const value = placeholder(option);
  return option.type === 'int' && option.bare !== undefined
    ? `${flagName(name)}[=${value}]`
    : `${flagName(name)} ${value}`;
}

function facts(option: Option): string[] {
  const result: string[] = [];
  if (option.type === 'list' && option.required === true) result.push('Required.');
  if ('min' in option) result.push(`From ${option.min} to ${option.max}.`);
  const shown =
    typeof option.default === 'object' && 'shown' in option.default ? option.default.shown : defaultText(option, {});
  if (shown !== undefined && shown !== '' && option.type !== 'bool') result.push(`Default: ${shown}.`);
  return result;
}

function wrap(text: string): string {
  const lines: string[] = [];
  let line = INDENT;
  for (const word of text.split(' ')) {
    if (line.length + word.length > WIDTH && line !== INDENT) {
      lines.push(line.trimEnd());
      line = INDENT;
    }
    line += `${word} `;
  }
  return [...lines, line.trimEnd()].join('\n');
}

/** What holds and why, a line for each option: name, value, source. Values of secret options are hidden. */
export function renderConfigView<Table extends OptionTable>({ settings }: ResolvedConfig<Table>): string {
  const rows = [
    ['OPTION', 'VALUE', 'SOURCE'],
    ...settings.map(({ name, text, source }) => [name, text ?? '(unset)', source]),
  ];
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map(([name, value, source]) => `${name!.padEnd(widths[0]!)}  ${value!.padEnd(widths[1]!)}  ${source}\n`)
    .join('');
}
