import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@dogwatch/process/clock.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ChildService } from './child-service.ts';

let dir: string;
let children = 0;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'dogwatch-child-'));
});
afterAll(() => rm(dir, { recursive: true }));

/** A child that runs `code` on Node and serves once its log says "serving". */
async function childOf(code: string) {
  const name = `child-${children++}`;
  const script = join(dir, `${name}.mjs`);
  const logFile = join(dir, `${name}.log`);
  await writeFile(script, code);
  const probe = async (pid: number): Promise<{ pid: number; ports: object } | undefined> =>
    (await readFile(logFile, 'utf8')).includes('serving') ? { pid, ports: {} } : undefined;
  const plan = { name, script, args: ['argument'], env: { ...process.env, GREETING: 'hello' }, logFile, probe };
  return { child: new ChildService({ ...plan, probe: probe as never }, systemClock), logFile };
}

const stays = `setInterval(() => {}, 1000);`;

describe('a child as a service', () => {
  test('runs with its arguments and environment until told to go, and goes by SIGTERM', async () => {
    const { child, logFile } = await childOf(`${stays}
      process.on('SIGTERM', () => { console.log('told to go'); process.exit(0); });
      console.log('serving', process.argv[2], process.env.GREETING);`);
    const stop = new AbortController();
    const running = child.run(stop.signal);
    const { pid } = await child.serving;
    expect(() => process.kill(pid, 0)).not.toThrow();
    stop.abort();
    await expect(running).resolves.toBeUndefined();
    expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
    expect(await readFile(logFile, 'utf8')).toBe('serving argument hello\ntold to go\n');
  });

  test('that ends by itself is a failure which quotes what it said last', async () => {
    const { child, logFile } = await childOf(`
      console.log('first'); console.log('dogwatch: upstream is down'); console.log('  at main.ts'); process.exit(3);`);
    const error = {
      code: 'ChildFailed',
      message: `${child.name} ended with code 3; its log, ${logFile}, says: dogwatch: upstream is down`,
    };
    await expect(child.run(new AbortController().signal)).rejects.toMatchObject(error);
    await expect(child.serving).rejects.toMatchObject(error);
  });

  test('that is killed is a failure, even while it serves', async () => {
    const { child } = await childOf(`${stays} console.log('serving');`);
    const running = child.run(new AbortController().signal);
    running.catch(() => undefined);
    process.kill((await child.serving).pid, 'SIGKILL');
    await expect(running).rejects.toThrow(`${child.name} ended with SIGKILL`);
  });

  test('that is told to go before it serves is no failure', async () => {
    const { child } = await childOf(stays);
    const stop = new AbortController();
    const running = child.run(stop.signal);
    stop.abort();
    await expect(running).resolves.toBeUndefined();
    await expect(child.serving).rejects.toThrow(`${child.name} was stopped`);
  });

  test('has an IPC channel, by which it notices when we are gone', async () => {
    const { child, logFile } = await childOf(`${stays} console.log(process.connected, 'serving');`);
    const stop = new AbortController();
    const running = child.run(stop.signal);
    await child.serving;
    stop.abort();
    await running;
    expect(await readFile(logFile, 'utf8')).toBe('true serving\n');
  });
});
