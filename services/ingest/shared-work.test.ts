import { expect, test } from 'vitest';
import { SharedWork } from './shared-work.ts';

function scripted() {
  const runs: PromiseWithResolvers<number>[] = [];
  const work = new SharedWork(() => {
    const run = Promise.withResolvers<number>();
    runs.push(run);
    return run.promise;
  });
  return { runs, work };
}

test('all who ask in one turn share a run', async () => {
  const { runs, work } = scripted();
  const asked = [work.ask(), work.ask(), work.ask()];
  await Promise.resolve();
  expect(runs).toHaveLength(1);
  runs[0]!.resolve(1);
  expect(await Promise.all(asked)).toEqual([1, 1, 1]);
});

test('I6: who asks while it runs gets the next run, one for all of them', async () => {
  const { runs, work } = scripted();
  const first = work.ask();
  await Promise.resolve();
  const late = [work.ask(), work.ask()];
  runs[0]!.resolve(1);
  expect(await first).toBe(1);
  await Promise.resolve();
  await Promise.resolve();
  expect(runs).toHaveLength(2);
  runs[1]!.resolve(2);
  expect(await Promise.all(late)).toEqual([2, 2]);
});

test('a failure is told to those who share it, and does not keep the next from running', async () => {
  const { runs, work } = scripted();
  const first = work.ask();
  await Promise.resolve();
  const late = work.ask();
  runs[0]!.reject(new Error('first'));
  await expect(first).rejects.toThrow('first');
  await Promise.resolve();
  await Promise.resolve();
  runs[1]!.resolve(2);
  expect(await late).toBe(2);
  const again = work.ask();
  await Promise.resolve();
  runs[2]!.resolve(3);
  expect(await again).toBe(3);
});
