import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { createLogger, isPretty, levelOfVerbosity, type LogLevel } from './log.ts';

function recorder(level: LogLevel = 'trace', pretty = false) {
  const lines: string[] = [];
  const log = createLogger({ level, pretty, destination: { write: (line) => lines.push(line) } });
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? '') as Record<string, unknown> };
}

describe('createLogger', () => {
  test('writes one JSON object a line, with level name, RFC 3339 time and fields', () => {
    const { log, lines, last } = recorder();
    log.info({ lane: 'core/v1/pods' }, 'lane open');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/\n$/);
    expect(last()).toEqual({
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) as string,
      lane: 'core/v1/pods',
      msg: 'lane open',
    });
  });

  test('leaves out lines below its level', () => {
    const { log, lines } = recorder('warn');
    log.info('not this');
    log.warn('but this');
    expect(lines).toHaveLength(1);
  });

  test('keeps message, code, stack and cause of an error', () => {
    const { log, last } = recorder();
    log.error(
      { err: Object.assign(new Error('broken', { cause: new Error('socket') }), { code: 'X1' }) },
      'lane failed',
    );
    expect(last()['err']).toMatchObject({
      message: 'broken: socket',
      code: 'X1',
      stack: expect.stringContaining('socket') as string,
    });
  });

  test('is made for a person when pretty', () => {
    const { log, lines } = recorder('info', true);
    log.info({ lane: 'core/v1/pods' }, 'lane open');
    expect(lines.join('')).toMatch(/INFO.*lane open[^]*lane.*core\/v1\/pods/);
  });

  test.each([false, true])('a credential never comes out, whatever way it went in (pretty: %s)', (pretty) => {
    const canary = 'canary-51c0ffee';
    const { log, lines } = recorder('trace', pretty);
    const headers = { authorization: `Bearer ${canary}`, accept: 'application/json' };
    log.info({ headers }, 'request');
    log.info({ request: { tries: [{ headers }] } }, 'nested');
    log.info(`upstream refused Bearer ${canary}`);
    log.info('format %s and %o', `Bearer ${canary}`, { token: canary });
    log.info({ object: { kind: 'Secret', data: { password: canary }, stringData: { password: canary } } }, 'secret');
    log.info({ pem: `-----BEGIN PRIVATE KEY-----\n${canary}\n-----END PRIVATE KEY-----` }, 'certificate');
    log.error({ err: Object.assign(new Error(`Bearer ${canary}`), { headers, response: { token: canary } }) });
    log.error(new Error('outer', { cause: new Error(`401 for Bearer ${canary}`) }));
    log.child({ token: canary, user: { token: canary } }).warn({ clientKey: canary }, 'child');
    expect(lines).toHaveLength(9);
    expect(lines.join('')).not.toContain(canary);
    expect(lines.join('')).toContain('application/json');
  });

  test('writes to standard error, and all of it before the process ends', () => {
    const script = `
      const { createLogger } = await import(${JSON.stringify(new URL('log.ts', import.meta.url).href)});
      const log = createLogger({ level: 'info', pretty: false });
      for (let i = 0; i < 1000; i++) log.info({ i }, 'line');
      process.exit(3);`;
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    expect({ status, stdout }).toEqual({ status: 3, stdout: '' });
    expect(stderr.trimEnd().split('\n')).toHaveLength(1000);
  });

  test('a reader of standard error that stalls costs lines, never the event loop, and is told how many', async () => {
    const script = `
      const { createLogger } = await import(${JSON.stringify(new URL('log.ts', import.meta.url).href)});
      const log = createLogger({ level: 'info', pretty: false });
      const filler = 'x'.repeat(10_000);
      for (let i = 0; i < 1000; i++) log.info({ i, filler }, 'line');
      setTimeout(() => console.log('alive'), 20);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] });
    const exit = once(child, 'exit');
    expect(String(await once(child.stdout, 'data'))).toBe('alive\n');
    const lines = (await text(child.stderr))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    await exit;
    const kept = lines.filter(({ msg }) => msg === 'line').length;
    expect(kept).toBeGreaterThan(300);
    expect(lines.at(-1)).toMatchObject({
      level: 'warn',
      dropped: 1000 - kept,
      msg: 'log reader too slow, lines dropped',
    });
  });
});

test.each([
  [0, 'info'],
  [2, 'info'],
  [4, 'debug'],
  [5, 'debug'],
  [6, 'trace'],
  [10, 'trace'],
])('klog verbosity %i is level %s', (v, level) => {
  expect(levelOfVerbosity(v)).toBe(level);
});

test('auto is pretty on a terminal only', () => {
  expect([isPretty('auto', true), isPretty('auto', false), isPretty('json', true), isPretty('pretty', false)]).toEqual([
    true,
    false,
    false,
    true,
  ]);
});
