import { describe, expect, test } from 'vitest';
import { resolveConfig } from './config.ts';
import { renderConfigView, renderHelp } from './config-text.ts';
import { defineOptions } from './options.ts';

const TABLE = defineOptions({
  kubeconfig: { type: 'path', help: 'The file.' },
  'secure-port': { type: 'int', default: 6443, min: 0, max: 65_535, help: 'The port.' },
  'cert-dir': {
    type: 'path',
    placeholder: 'DIR',
    default: { from: () => '/a/certs', shown: '~/certs' },
    help: 'Certs.',
  },
  'log-format': { type: 'enum', values: ['auto', 'json'], default: 'auto', help: 'The format.' },
  'tls-san': { type: 'list', default: [], help: `A long text ${'that goes on '.repeat(12)}and ends.` },
  profiling: { type: 'bool', default: false, help: 'Profile.' },
  password: { type: 'string', secret: true, help: 'Secret.' },
  v: { type: 'int', default: 2, min: 0, max: 10, bare: 4, help: 'Verbosity.' },
});

describe('renderHelp', () => {
  const help = renderHelp(TABLE);

  test('shows flag, value, text, bounds and default of every option in the order of the table', () => {
    expect(help).toContain('  --secure-port N\n      The port. From 0 to 65535. Default: 6443.\n');
    expect(help).toContain('  --kubeconfig FILE\n      The file.\n');
    expect(help).toContain('  --cert-dir DIR\n      Certs. Default: ~/certs.\n');
    expect(help).toContain('  --log-format auto|json\n      The format. Default: auto.\n');
    expect(help).toContain('  --profiling\n      Profile.\n');
    expect(help).toContain('  -v[=N]\n      Verbosity. From 0 to 10. Default: 2.\n');
    expect([...help.matchAll(/^ {2}--?([\w-]+)/gm)].map(([, name]) => name)).toEqual(Object.keys(TABLE));
  });

  test('says that an option is required', () => {
    const table = defineOptions({ servers: { type: 'list', default: [], required: true, help: 'Whom.' } });
    expect(renderHelp(table)).toBe('  --servers A,B,...\n      Whom. Required.\n');
  });

  test('fits a terminal of 100 columns', () => {
    expect(Math.max(...help.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
  });
});

test('renderConfigView shows value and source of every option, and no secret', () => {
  const view = renderConfigView(
    resolveConfig(TABLE, { argv: ['--password=hunter2', '-v'], env: { DOGWATCH_TLS_SAN: 'a,b' } }),
  );
  expect(view.split('\n')).toEqual([
    'OPTION       VALUE     SOURCE',
    'kubeconfig   (unset)   default',
    'secure-port  6443      default',
    'cert-dir     /a/certs  default',
    'log-format   auto      default',
    'tls-san      a,b       env DOGWATCH_TLS_SAN',
    'profiling    false     default',
    'password     (hidden)  flag',
    'v            4         flag',
    '',
  ]);
});
