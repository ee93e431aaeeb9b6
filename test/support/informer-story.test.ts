import { describe, expect, test } from 'vitest';
import { checkStory, type Told } from './informer-story.ts';
import type { ObjectEvent } from './watch-recorder.ts';

/** `TYPE key uid@rv`. */
function parse(line: string): { type: string; key: string; uid: string; rv: number } {
  const [type = '', key = '', version = ''] = line.split(' ');
  const [uid = '', rv] = version.split('@');
  return { type, key, uid, rv: Number(rv) };
}

const events = (lines: readonly string[]): ObjectEvent[] =>
  lines.map((line) => ({ ...parse(line), labels: {} }) as ObjectEvent);
const story = (lines: readonly string[]): Told[] => lines.map((line) => ({ ...parse(line), at: 0 }) as Told);

const HISTORY = events([
  'ADDED a u1@10',
  'MODIFIED a u1@11',
  'ADDED b u2@12',
  'MODIFIED a u1@13',
  'DELETED b u2@14',
  'ADDED b u3@15',
  'MODIFIED b u3@16',
]);
const WHOLE = [
  'LISTED a u1@10',
  'MODIFIED a u1@11',
  'ADDED b u2@12',
  'MODIFIED a u1@13',
  'DELETED b u2@14',
  'ADDED b u3@15',
  'MODIFIED b u3@16',
];

function check(lines: readonly string[], ...passed: { after: number; upTo: number }[]): string[] {
  return checkStory(story(lines), { history: HISTORY, from: 10, to: 16, passed });
}

const without = (...lines: string[]): string[] => WHOLE.filter((line) => !lines.includes(line));

test('every event once and in order is right', () => {
  expect(check(WHOLE)).toEqual([]);
});

test('what came after the caches were compared need not have been told', () => {
  const check = { history: HISTORY, from: 10, to: 15, passed: [] };
  expect(checkStory(story(without('MODIFIED b u3@16')), check)).toEqual([]);
});

describe('is noticed', () => {
  test('an event that is missing, of each type', () => {
    expect(check(without('MODIFIED a u1@11'))).toEqual(['MODIFIED a u1@11: not told']);
    expect(check(without('MODIFIED b u3@16'))).toEqual(['MODIFIED b u3@16: not told']);
    expect(check(without('DELETED b u2@14'))).toContain('DELETED b u2@14: not told');
  });

  test('an event that comes twice, of each type', () => {
    expect(check([...WHOLE, 'MODIFIED b u3@16'])).toEqual(['MODIFIED b u3@16: 16 is held, doubled']);
    expect(check(WHOLE.toSpliced(3, 0, 'ADDED b u2@12'))).toEqual(['ADDED b u2@12: u2@12 is held']);
    expect(check(WHOLE.toSpliced(5, 0, 'DELETED b u2@14'))).toEqual(['DELETED b u2@14: nothing is held']);
  });

  test('two events that are swapped', () => {
    expect(check(WHOLE.with(2, WHOLE[3]!).with(3, WHOLE[2]!))).toEqual(['ADDED b u2@12: behind 13']);
  });

  test('what never happened, and what only a list has told', () => {
    expect(check([...WHOLE, 'ADDED c u9@17'])).toEqual(['ADDED c u9@17: never happened']);
    expect(check(WHOLE.with(4, 'MISSED b u2@14'))).toContain('MISSED b u2@14: told by a list, not by an event');
  });
});

describe('of passed versions', () => {
  const passed = { after: 11, upTo: 15 };

  test('states that did not last may be left out, and a delete may stand where they begin', () => {
    const repaired = ['LISTED a u1@10', 'MODIFIED a u1@11', 'MODIFIED a u1@13', 'ADDED b u3@15', 'MODIFIED b u3@16'];
    expect(check(repaired, passed)).toEqual([]);
    const held = ['LISTED a u1@10', 'MODIFIED a u1@11', 'ADDED b u2@12'];
    const found = [...held, 'DELETED b u2@12', 'MODIFIED a u1@13', 'ADDED b u3@15', 'MODIFIED b u3@16'];
    expect(check(found, { after: 12, upTo: 15 })).toEqual([]);
    expect(check(found)).toEqual(['DELETED b u2@12: never happened']);
  });

  test('the last state of an object is owed, and a delete of what was held', () => {
    expect(check(without('MODIFIED a u1@13'), passed)).toEqual(['MODIFIED a u1@13: not told']);
    expect(check(without('DELETED b u2@14'), { after: 12, upTo: 15 })).toContain('DELETED b u2@14: not told');
    expect(check(without('MODIFIED b u3@16'), passed)).toEqual(['MODIFIED b u3@16: not told']);
  });
});

test('an informer that listed again may be told what it holds and what was missing, but all that lasts is owed still', () => {
  const relisted = { history: HISTORY, from: 10, to: 16, passed: [{ after: 12, upTo: 15 }], relisted: true };
  const lines = ['LISTED a u1@10', 'MODIFIED a u1@11', 'ADDED b u2@12', 'MISSED b u2@12', 'ADDED b u3@15'];
  const rest = ['MODIFIED a u1@13', 'MODIFIED a u1@13', 'MODIFIED b u3@16'];
  expect(checkStory(story([...lines, ...rest]), relisted)).toEqual([]);
  expect(checkStory(story([...lines, ...rest.slice(0, 2)]), relisted)).toEqual(['MODIFIED b u3@16: not told']);
});
