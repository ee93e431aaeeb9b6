import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Pumps } from './pumps.ts';
import type { WatchStream } from './watch-stream.ts';

function stream(pump: () => void): WatchStream {
  return { pump } as unknown as WatchStream;
}

function busy(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

test('everything of one turn is written together', async () => {
  const pumps = new Pumps();
  let written = 0;
  for (let i = 0; i < 1_000; i += 1) pumps.add(stream(() => (written += 1)));
  expect(written).toBe(0);
  await setImmediate();
  expect(written).toBe(1_000);
});

test('I8: more than fits into a slice lets others have their turn', async () => {
  const pumps = new Pumps();
  const written: number[] = [];
  const write = (i: number) => {
    busy(0.5);
    written.push(i);
    // What comes meanwhile goes behind what waits.
    if (i === 0) pumps.add(stream(() => written.push(200)));
  };
  for (let i = 0; i < 200; i += 1) pumps.add(stream(() => write(i)));
  await setImmediate();
  expect(written.length).toBeGreaterThan(0);
  expect(written.length).toBeLessThan(200);
  while (written.length < 201) await setImmediate();
  expect(written).toEqual(Array.from({ length: 201 }, (_, i) => i));
});
