import fc from 'fast-check';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { checkRequired, type ConfigInput, resolveConfig } from './config.ts';
import { type ConfigOf, defineOptions, type Environment } from './options.ts';
import { SyntaxProblem } from './quantity.ts';

const TABLE = defineOptions({
  'bind-address': { type: 'address', default: '0.0.0.0', help: 'Where to listen.' },
  'secure-port': { type: 'int', default: 6443, min: 0, max: 65_535, help: 'The port.' },
  kubeconfig: { type: 'path', help: 'The file.' },
  'cert-dir': {
    type: 'path',
    default: { from: ({ HOME }) => `${HOME ?? ''}/certs`, shown: '~/certs' },
    help: 'Certs.',
  },
  'log-format': { type: 'enum', values: ['auto', 'json'], default: 'auto', help: 'The format.' },
  'lane-idle-timeout': { type: 'duration', default: '10m', min: '1s', max: '24h', help: 'Idle.' },
  'window-bytes': { type: 'bytes', default: '64Mi', min: '1Mi', max: '16Gi', help: 'Window.' },
  'tls-san': { type: 'list', default: [], help: 'Names.' },
  profiling: { type: 'bool', default: false, help: 'Profile.' },
  password: { type: 'string', secret: true, help: 'Secret.' },
  'admin-port': { type: 'int', min: 0, max: 65_535, help: 'Admin.' },
  v: { type: 'int', default: 2, min: 0, max: 10, bare: 4, help: 'Verbosity.' },
});

const resolve = (input: Partial<ConfigInput> = {}) => resolveConfig(TABLE, { argv: [], env: {}, ...input });
const flags = (...argv: string[]) => resolve({ argv }).config;
const fromEnv = (env: Environment) => resolve({ env }).config;
const file = (content: unknown) =>
  resolve({ file: { path: 'dw.json', text: typeof content === 'string' ? content : JSON.stringify(content) } });
const source = (resolved: ReturnType<typeof resolve>, name: string) =>
  resolved.settings.find((setting) => setting.name === name)?.source;

test('the type of the result follows from the table', () => {
  type Config = ConfigOf<typeof TABLE>;
  expectTypeOf<Config['bindAddress']>().toEqualTypeOf<string>();
  expectTypeOf<Config['securePort']>().toEqualTypeOf<number>();
  expectTypeOf<Config['kubeconfig']>().toEqualTypeOf<string | undefined>();
  expectTypeOf<Config['logFormat']>().toEqualTypeOf<'auto' | 'json'>();
  expectTypeOf<Config['laneIdleTimeout']>().toEqualTypeOf<number>();
  expectTypeOf<Config['tlsSan']>().toEqualTypeOf<readonly string[]>();
  expectTypeOf<Config['profiling']>().toEqualTypeOf<boolean>();
  expectTypeOf<Config['adminPort']>().toEqualTypeOf<number | undefined>();
});

test('defaults hold when nothing is given', () => {
  const { config, settings } = resolve({ env: { HOME: '/home/a' } });
  expect(config).toEqual({
    bindAddress: '0.0.0.0',
    securePort: 6443,
    kubeconfig: undefined,
    certDir: '/home/a/certs',
    logFormat: 'auto',
    laneIdleTimeout: 600_000,
    windowBytes: 64 * 2 ** 20,
    tlsSan: [],
    profiling: false,
    password: undefined,
    adminPort: undefined,
    v: 2,
  });
  expect(new Set(settings.map((setting) => setting.source))).toEqual(new Set(['default']));
});

describe('precedence', () => {
  test('flag over environment over file over default, for each option by itself', () => {
    const resolved = resolve({
      argv: ['--secure-port=1'],
      env: { DOGWATCH_SECURE_PORT: '2', DOGWATCH_V: '3' },
      file: { path: 'dw.json', text: '{"secure-port": 4, "v": 5, "bind-address": "::1"}' },
    });
    expect(resolved.config).toMatchObject({ securePort: 1, v: 3, bindAddress: '::1', windowBytes: 64 * 2 ** 20 });
    expect(['secure-port', 'v', 'bind-address', 'window-bytes'].map((name) => source(resolved, name))).toEqual([
      'flag',
      'env DOGWATCH_V',
      'file dw.json',
      'default',
    ]);
    expect([resolved.given('v'), resolved.given('window-bytes')]).toEqual([true, false]);
  });

  test('an empty environment variable is not set', () => {
    expect(fromEnv({ DOGWATCH_KUBECONFIG: '' }).kubeconfig).toBeUndefined();
  });

  test('every source says the same thing in the same syntax', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 65_535 }), fc.integer({ min: 1, max: 3600 }), (port, seconds) => {
        const expected = flags('--secure-port', String(port), `--lane-idle-timeout=${seconds}s`);
        expect(fromEnv({ DOGWATCH_SECURE_PORT: String(port), DOGWATCH_LANE_IDLE_TIMEOUT: `${seconds}s` })).toEqual(
          expected,
        );
        expect(file({ 'secure-port': port, 'lane-idle-timeout': `${seconds}s` }).config).toEqual(expected);
        expect(expected).toMatchObject({ securePort: port, laneIdleTimeout: seconds * 1000 });
      }),
    );
  });
});

describe('flags', () => {
  test('take their value after = or as the next argument; the last one wins', () => {
    expect(flags('--kubeconfig=a=b', '--bind-address', '::').kubeconfig).toBe('a=b');
    expect(flags('--v=1', '-v', '7').v).toBe(7);
  });

  test.each([
    [['-v'], 4],
    [['-v=6'], 6],
    [['-v', '6'], 6],
    [['--v', '6'], 6],
    [['-v', '--profiling'], 4],
  ])('%j is verbosity %i', (argv, v) => {
    expect(flags(...argv).v).toBe(v);
  });

  test('a boolean is true alone and takes a value only after =', () => {
    expect(flags('--profiling').profiling).toBe(true);
    expect(flags('--profiling', '--profiling=false').profiling).toBe(false);
  });

  test('a list grows by commas and by repeating', () => {
    expect(flags('--tls-san=a, b', '--tls-san', '10.0.0.1').tlsSan).toEqual(['a', 'b', '10.0.0.1']);
  });
});

describe('the file', () => {
  test('may write numbers, booleans and lists as JSON has them', () => {
    expect(
      file({ 'secure-port': 1, profiling: true, 'tls-san': ['a', 'b'], 'window-bytes': 2 ** 20 }).config,
    ).toMatchObject({
      securePort: 1,
      profiling: true,
      tlsSan: ['a', 'b'],
      windowBytes: 2 ** 20,
    });
  });
});

describe('the variables of a Kubernetes Service named dogwatch', () => {
  const links = {
    DOGWATCH_SERVICE_HOST: '10.0.0.1',
    DOGWATCH_SERVICE_PORT: '443',
    DOGWATCH_SERVICE_PORT_HTTPS: '443',
    DOGWATCH_PORT: 'tcp://10.0.0.1:443',
    DOGWATCH_PORT_443_TCP: 'tcp://10.0.0.1:443',
    DOGWATCH_PORT_443_TCP_ADDR: '10.0.0.1',
    DOGWATCH_ADMIN_PORT: 'tcp://10.0.0.2:6480',
    DOGWATCH_ADMIN_PORT_6480_TCP_PROTO: 'tcp',
  };

  test('are no options, and a variable that only looks like one still counts', () => {
    expect(fromEnv(links)).toEqual(flags());
    expect(fromEnv({ ...links, DOGWATCH_ADMIN_PORT: '7' }).adminPort).toBe(7);
  });
});

describe('bad input is one line that names the culprit and says what to do', () => {
  test.each<[string, string, Partial<ConfigInput>]>([
    ['UnknownOption', 'unknown flag --bind-addres; did you mean --bind-address?', { argv: ['--bind-addres=1.2.3.4'] }],
    ['UnknownOption', 'unknown flag --etcd-servers; see --help for the known ones', { argv: ['--etcd-servers=x'] }],
    ['UnknownOption', 'unknown flag -kubeconfig; did you mean --kubeconfig?', { argv: ['-kubeconfig=x'] }],
    ['UnknownOption', 'unknown flag --toString; see --help for the known ones', { argv: ['--toString'] }],
    ['UnknownOption', 'unexpected argument "pods"; options begin with --', { argv: ['pods'] }],
    ['UnknownOption', 'unexpected argument "--"; options begin with --', { argv: ['--'] }],
    [
      'UnknownOption',
      'unknown environment variable DOGWATCH_SECUREPORT; did you mean DOGWATCH_SECURE_PORT?',
      { env: { DOGWATCH_SECUREPORT: '1' } },
    ],
    [
      'UnknownOption',
      'unknown key "securePort" in dw.json; did you mean "secure-port"?',
      { file: { path: 'dw.json', text: '{"securePort":1}' } },
    ],
    ['BadOption', '--kubeconfig needs a value: --kubeconfig=FILE', { argv: ['--kubeconfig', '--profiling'] }],
    ['BadOption', '--kubeconfig: must not be empty', { argv: ['--kubeconfig='] }],
    ['BadOption', '--secure-port: 70000 is not between 0 and 65535', { argv: ['--secure-port=70000'] }],
    ['BadOption', '--secure-port: "https" is not a whole number', { argv: ['--secure-port', 'https'] }],
    ['BadOption', '--secure-port: "1.5" is not a whole number', { argv: ['--secure-port', '1.5'] }],
    ['BadOption', '-v: 11 is not between 0 and 10', { argv: ['-v=11'] }],
    [
      'BadOption',
      '--bind-address: "localhost" is not an IP address such as 127.0.0.1 or ::',
      { argv: ['--bind-address=localhost'] },
    ],
    ['BadOption', '--log-format: "xml" is not one of auto, json', { argv: ['--log-format=xml'] }],
    ['BadOption', '--lane-idle-timeout: 0s is not between 1s and 24h', { argv: ['--lane-idle-timeout=0s'] }],
    ['BadOption', '--window-bytes: 1Ki is not between 1Mi and 16Gi', { argv: ['--window-bytes=1Ki'] }],
    ['BadOption', '--profiling: "yes" is neither true nor false', { argv: ['--profiling=yes'] }],
    ['BadOption', '--tls-san: has an empty item; separate items by single commas', { argv: ['--tls-san=a,,b'] }],
    ['BadOption', 'DOGWATCH_V: "loud" is not a whole number', { env: { DOGWATCH_V: 'loud' } }],
    ['BadOption', 'dw.json: "v": must be a whole number', { file: { path: 'dw.json', text: '{"v":true}' } }],
    [
      'BadOption',
      'dw.json: "tls-san": must be a list of strings',
      { file: { path: 'dw.json', text: '{"tls-san":[1]}' } },
    ],
    [
      'BadConfigFile',
      'dw.json must hold one JSON object, such as {"secure-port": 6443}',
      { file: { path: 'dw.json', text: '[]' } },
    ],
    ['BadConfigFile', 'dw.json is not JSON', { file: { path: 'dw.json', text: '' } }],
    ['BadConfigFile', 'dw.json is not JSON (line 2 column 1)', { file: { path: 'dw.json', text: '{"v": 1,\n}' } }],
    ['BadConfigFile', 'dw.json is not JSON', { file: { path: 'dw.json', text: '{"password":\nhunter2}' } }],
  ])('%s: %s', (code, message, input) => {
    expect(() => resolve(input)).toThrow(expect.objectContaining({ code, message }) as Error);
  });
});

describe('the environment may hold options of other commands', () => {
  const env = { DOGWATCH_NATS_SERVERS: 'a:1' };

  test('if they are named', () => {
    expect(resolve({ env, foreign: new Set(['nats-servers', 'v']) }).config).toEqual(flags());
    expect(() => resolve({ env, foreign: new Set(['nats-server']) })).toThrow(/unknown environment variable/);
  });

  test('but one that is ours as well counts', () => {
    expect(resolve({ env: { DOGWATCH_V: '7' }, foreign: new Set(['v']) }).config.v).toBe(7);
  });
});

describe('rules of a single option', () => {
  const even = (text: string) => {
    if (Number(text) % 2 !== 0) throw new SyntaxProblem(`${text} is odd`);
  };
  const table = defineOptions({
    numbers: { type: 'list', default: ['2'], required: true, check: even, placeholder: 'N,...', help: '' },
    number: { type: 'int', min: 0, max: 9, check: even, help: '' },
  });
  const check = (...argv: string[]) => {
    const resolved = resolveConfig(table, { argv, env: {} });
    checkRequired(table, resolved);
    return resolved.config;
  };

  test('hold for a value, and for each item of a list', () => {
    expect(check('--numbers=4,6', '--number=8')).toEqual({ numbers: ['4', '6'], number: 8 });
    expect(() => check('--number=7')).toThrow('--number: 7 is odd');
    expect(() => check('--numbers=4,5')).toThrow('--numbers: 5 is odd');
  });

  test('a list that is required has an item at the end, wherever it came from', () => {
    expect(check().numbers).toEqual(['2']);
    expect(() => check('--numbers=')).toThrow(
      expect.objectContaining({
        code: 'MissingOption',
        message: '--numbers=N,... is missing; DOGWATCH_NUMBERS can say it as well',
      }) as Error,
    );
  });

  test('hold for the default, or it is a bug of ours', () => {
    expect(() => defineOptions({ n: { type: 'int', default: 1, min: 0, max: 9, check: even, help: '' } })).toThrow(
      /odd/,
    );
  });
});

test('a secret is in the configuration and nowhere else', () => {
  const { config, settings } = resolve({ argv: ['--password=hunter2'] });
  expect(config.password).toBe('hunter2');
  expect(JSON.stringify(settings)).not.toContain('hunter2');
  expect(settings.find(({ name }) => name === 'password')?.text).toBe('(hidden)');
});

test('a table that breaks its own rules is a bug of ours', () => {
  expect(() => defineOptions({ bindAddress: { type: 'string', help: '' } })).toThrow(/kebab case/);
  expect(() => defineOptions({ port: { type: 'int', default: 7, min: 0, max: 6, help: '' } })).toThrow(/not between/);
});
