import assert from 'node:assert';
import { ConfigError } from '@dogwatch/process/config.ts';
import { describe, expect, test } from 'vitest';
import { describeFailure, VerboseFailure } from './failure.ts';

const foreseen = (message: string, options?: ErrorOptions) =>
  Object.assign(new Error(message, options), { code: 'PortInUse' });

describe('describeFailure', () => {
  test('bad input is one line and exit code 2', () => {
    expect(describeFailure(new ConfigError('BadOption', '--v: "x" is not a whole number'))).toEqual({
      text: 'dogwatch: --v: "x" is not a whole number\n',
      exitCode: 2,
    });
  });

  test('an error with a code is one line, without stack, and exit code 1', () => {
    expect(describeFailure(foreseen('port 6443 is in use;\nchoose another'))).toEqual({
      text: 'dogwatch: port 6443 is in use; choose another\n',
      exitCode: 1,
    });
  });

  test('of several that failed together the first is told', () => {
    const error = new AggregateError([foreseen('first'), new Error('second')], 'first');
    expect(describeFailure(error).text).toBe('dogwatch: first\n');
  });

  test('with verbosity the stack and every cause come too', () => {
    const { text, exitCode } = describeFailure(
      new VerboseFailure(foreseen('lost', { cause: new Error('ECONNRESET') })),
    );
    expect(text).toMatch(/^dogwatch: Error: lost\n {4}at [^]*\ncaused by: Error: ECONNRESET\n {4}at /);
    expect(exitCode).toBe(1);
  });

  test('what nobody foresaw comes with its stack: no code, an assertion, a misuse of Node, no error at all', () => {
    const failures = [
      new TypeError('x is undefined'),
      assertion(),
      Object.assign(new Error('arg'), { code: 'ERR_INVALID_ARG_TYPE' }),
    ];
    for (const failure of failures) {
      expect(describeFailure(failure).text).toMatch(/^dogwatch: internal error, please report it: \w+.*[^]*\n {4}at /);
      expect(describeFailure(failure).exitCode).toBe(1);
    }
    expect(describeFailure('odd').text).toBe('dogwatch: internal error, please report it: odd\n');
  });

  test('no credential is told', () => {
    const error = Object.assign(new Error('401 for Bearer canary-123'), { headers: { authorization: 'canary-123' } });
    for (const failure of [error, new VerboseFailure(error), Object.assign(error, { code: 'X' })]) {
      expect(describeFailure(failure).text).not.toContain('canary-123');
    }
  });
});

function assertion(): unknown {
  try {
    assert(false, 'cursor beyond the log');
  } catch (error) {
    return error;
  }
}
