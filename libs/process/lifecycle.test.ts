import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { describe, expect, test } from 'vitest';
import { runAll, type Service } from './lifecycle.ts';

/** A service that says when it starts and stops; its drain lasts until `drained` settles. */
function service(name: string, journal: string[], drained: Promise<void> = Promise.resolve()): Service {
  return {
    async run(signal) {
      journal.push(`${name} starts`);
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        signal.addEventListener('abort', () => resolve());
      });
      journal.push(`${name} drains`);
      await drained;
      journal.push(`${name} stopped`);
    },
  };
}

const failing = (error: unknown): Service => ({ run: () => Promise.reject(error) });

/** Lets everything that needs no I/O settle. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('runAll', () => {
  test('starts the last rank first and stops the first rank first, each fully before the next', async () => {
    const journal: string[] = [];
    const controller = new AbortController();
    const slow = Promise.withResolvers<void>();
    const done = runAll(
      [[service('edge', journal, slow.promise)], [service('feed', journal), service('admin', journal)]],
      controller.signal,
    );
    await turn();
    controller.abort();
    await turn();
    expect(journal).toEqual(['feed starts', 'admin starts', 'edge starts', 'edge drains']);
    slow.resolve();
    await done;
    expect(journal.slice(4)).toEqual(['edge stopped', 'feed drains', 'admin drains', 'feed stopped', 'admin stopped']);
  });

  test('a service that rejects stops the others in ranks, and its error comes out', async () => {
    const journal: string[] = [];
    const broken = new Error('port in use');
    const done = runAll(
      [[service('edge', journal)], [failing(broken), service('feed', journal)]],
      new AbortController().signal,
    );
    await expect(done).rejects.toBe(broken);
    expect(journal.at(-1)).toBe('feed stopped');
    expect(journal.indexOf('edge stopped')).toBeLessThan(journal.indexOf('feed drains'));
  });

  test('no error is lost when several fail', async () => {
    const errors = [new Error('first'), new Error('second')];
    const done = runAll([[failing(errors[1])], [failing(errors[0])]], new AbortController().signal);
    await expect(done).rejects.toMatchObject({ message: 'first', errors, cause: errors[0] });
  });

  test('returns when all services have no more to do', async () => {
    await expect(
      runAll([[{ run: () => Promise.resolve() }], []], new AbortController().signal),
    ).resolves.toBeUndefined();
  });

  test('a service that returns early leaves the others running', async () => {
    const journal: string[] = [];
    const controller = new AbortController();
    const done = runAll([[{ run: () => Promise.resolve() }, service('edge', journal)]], controller.signal);
    await turn();
    expect(journal).toEqual(['edge starts']);
    controller.abort();
    await done;
  });

  test('a signal that has aborted already stops at once', async () => {
    const journal: string[] = [];
    await runAll([[service('edge', journal)]], AbortSignal.abort());
    expect(journal).toEqual(['edge starts', 'edge drains', 'edge stopped']);
  });

  test('a throw before the first await is a failure like any other', async () => {
    const throwing: Service = {
      run() {
        throw new Error('at once');
      },
    };
    await expect(runAll([[throwing]], new AbortController().signal)).rejects.toThrow('at once');
  });
});

describe('onSignals', () => {
  /** A process that says `ready`, then `aborted` when the signal aborts, and ends by itself only if `drains`. */
  async function start({ drains, ipc = false }: { drains: boolean; ipc?: boolean }) {
    const script = `
      const { onSignals } = await import(${JSON.stringify(new URL('lifecycle.ts', import.meta.url).href)});
      const signal = onSignals();
      const alive = setInterval(() => {}, 1000);
      signal.addEventListener('abort', () => { console.log('aborted'); if (${drains}) clearInterval(alive); });
      console.log('ready');`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit', ...(ipc ? (['ipc'] as const) : [])],
    });
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    const line = async () => (await lines.next()).value;
    const exit = once(child, 'exit');
    expect(await line()).toBe('ready');
    return { child, line, exit };
  }

  test.each(['SIGINT', 'SIGTERM'] as const)('the first %s aborts and the process drains', async (name) => {
    const { child, line, exit } = await start({ drains: true });
    child.kill(name);
    expect(await line()).toBe('aborted');
    expect(await exit).toEqual([0, null]);
  });

  test('an echo of the first is no second; one later exits with 130', async () => {
    const { child, line, exit } = await start({ drains: false });
    child.kill('SIGINT');
    expect(await line()).toBe('aborted');
    child.kill('SIGINT');
    const again = setInterval(() => child.kill('SIGINT'), 100);
    const before = performance.now();
    expect(await exit).toEqual([130, null]);
    clearInterval(again);
    expect(performance.now() - before).toBeGreaterThan(300);
  });

  test('another signal after the first exits at once, with its own code', async () => {
    const { child, line, exit } = await start({ drains: false });
    child.kill('SIGINT');
    expect(await line()).toBe('aborted');
    child.kill('SIGTERM');
    expect(await exit).toEqual([143, null]);
  });

  test('aborts when the launcher is gone, and its channel keeps nothing alive', async () => {
    const { child, line, exit } = await start({ drains: true, ipc: true });
    child.disconnect();
    expect(await line()).toBe('aborted');
    expect(await exit).toEqual([0, null]);
  });
});
