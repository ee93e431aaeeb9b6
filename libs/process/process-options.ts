import { homedir } from 'node:os';
import { join } from 'node:path';
import { defineOptions, type Environment } from './options.ts';

/** Options of every command that serves: where the operator looks, and what it says of itself. */
export const processOptions = defineOptions({
  'admin-address': {
    type: 'address',
    default: '127.0.0.1',
    help: 'IP address of /livez, /readyz, /metrics and /version: plain HTTP that asks nobody who they are.',
  },
  'admin-port': {
    type: 'int',
    default: 6480,
    min: 0,
    max: 65_535,
    placeholder: 'PORT',
    help: 'Port of the same; 0 takes a free one.',
  },
  config: {
    type: 'path',
    help: 'JSON file with options by their names here, as in {"admin-port": 6480, "log-format": "json"}.',
  },
  'log-format': {
    type: 'enum',
    values: ['auto', 'json', 'pretty'],
    default: 'auto',
    help: 'Form of the log on standard error; auto is pretty on a terminal and JSON elsewhere.',
  },
  v: {
    type: 'int',
    default: 2,
    min: 0,
    max: 10,
    bare: 4,
    help: 'Verbosity as in klog: 4 is debug, which -v alone means, 6 and more is trace.',
  },
});

/** Where dogwatch keeps what it makes itself, and how the help text writes it. */
export const STATE_DIRECTORY = '${XDG_STATE_HOME:-~/.local/state}/dogwatch';

export function stateDirectory({ HOME, XDG_STATE_HOME }: Environment): string {
  const home = HOME === undefined || HOME === '' ? homedir() : HOME;
  const state = XDG_STATE_HOME === undefined || XDG_STATE_HOME === '' ? join(home, '.local/state') : XDG_STATE_HOME;
  return join(state, 'dogwatch');
}
