import { describe, expect, test } from 'vitest';
import { Turns } from './turns.ts';

const refusal = (): Error => new Error('too many');

/** Work that ends when it is told to. */
function works(turns: Turns) {
  const begun: string[] = [];
  const ends = new Map<string, PromiseWithResolvers<string>>();
  const run = (name: string): Promise<string> =>
    turns.run(() => {
      const end = Promise.withResolvers<string>();
      begun.push(name);
      ends.set(name, end);
      return end.promise;
    }, refusal);
  return { begun, ends, run };
}

async function settled(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
}

describe('turns', () => {
  test('let a bounded number through at a time, in order of arrival', async () => {
    const { begun, ends, run } = works(new Turns({ atOnce: 2, waitingMax: 10 }));
    const runs = ['a', 'b', 'c', 'd'].map(run);
    expect(begun).toEqual(['a', 'b']);
    ends.get('b')!.resolve('B');
    await settled();
    expect(begun).toEqual(['a', 'b', 'c']);
    for (const name of ['a', 'c']) ends.get(name)!.resolve(name.toUpperCase());
    await settled();
    ends.get('d')!.resolve('D');
    expect(await Promise.all(runs)).toEqual(['A', 'B', 'C', 'D']);
  });

  test('go on behind work that fails', async () => {
    const { begun, ends, run } = works(new Turns({ atOnce: 1, waitingMax: 10 }));
    const [first] = [run('a'), run('b')];
    ends.get('a')!.reject(new Error('no'));
    await expect(first).rejects.toThrow('no');
    await settled();
    expect(begun).toEqual(['a', 'b']);
    ends.get('b')!.resolve('B');
  });

  test('refuse where too many wait, and turn away those that wait when they are cleared', async () => {
    const turns = new Turns({ atOnce: 1, waitingMax: 1 });
    const { begun, ends, run } = works(turns);
    const [first, second] = [run('a'), run('b')];
    await expect(run('c')).rejects.toThrow('too many');
    turns.clear(new Error('closed'));
    await expect(second).rejects.toThrow('closed');
    ends.get('a')!.resolve('A');
    expect(await first).toBe('A');
    const last = run('d');
    expect(begun).toEqual(['a', 'd']);
    ends.get('d')!.resolve('D');
    expect(await last).toBe('D');
  });
});
