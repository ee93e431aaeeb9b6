// The rules of the house that no linter knows: what ARCHITECTURE.md says is there, and nothing is left lying about.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: ROOT })
  .toString()
  .split('\n')
  .filter((path) => path !== '' && existsSync(`${ROOT}/${path}`));
const sources = files.filter((path) => /\.(ts|js)$/.test(path));
const read = (path: string): string => readFileSync(`${ROOT}/${path}`, 'utf8');
const architecture = read('ARCHITECTURE.md');

describe('ARCHITECTURE.md', () => {
  test('every file of the journey of an event exists', () => {
    const journey = architecture.split('## The journey of an event')[1]?.split('\n## ')[0] ?? '';
    const paths = [...journey.matchAll(/`((?:libs|services)\/[^`]+)`/g)].map(([, path]) => path ?? '');
    expect(paths.length).toBeGreaterThan(10);
    expect(paths.filter((path) => !files.includes(path))).toEqual([]);
  });

  test('every file it names elsewhere exists', () => {
    const names = [...architecture.matchAll(/`([a-z0-9-]+\.ts)`/g)].map(([, name]) => name ?? '');
    const known = new Set(sources.map((path) => basename(path)));
    expect(names.filter((name) => !known.has(name))).toEqual([]);
  });

  test('every promise is named by a test', () => {
    const promises = [...architecture.matchAll(/\*\*(I\d+) /g)].map(([, promise]) => promise ?? '');
    expect(promises).toEqual(Array.from({ length: 10 }, (_, i) => `I${i + 1}`));
    const tests = sources.filter((path) => path.endsWith('.test.ts') && path !== 'test/tidy.test.ts').map(read);
    const untested = promises.filter((promise) => !tests.some((text) => new RegExp(`\\b${promise}\\b`).test(text)));
    expect(untested).toEqual([]);
  });
});

describe('sources', () => {
  test('a file is imported by its own name: no index files, no re-exports', () => {
    expect(sources.filter((path) => basename(path).startsWith('index.'))).toEqual([]);
    expect(sources.filter((path) => /^export (\*|\{[^}]*\}) from /m.test(read(path)))).toEqual([]);
  });

  test('nothing is left to do', () => {
    const marks = new RegExp(
      `\\b(${['TO', 'FIX', 'X'].map((start) => `${start}${start === 'X' ? 'XX' : start === 'FIX' ? 'ME' : 'DO'}`).join('|')})\\b`,
    );
    const marked = sources.filter((path) => marks.test(read(path)));
    expect(marked).toEqual([]);
  });

  test('a room imports only the rooms its package.json names', () => {
    const undeclared = sources.flatMap((path) => {
      const room = /^(?:(?:libs|services)\/[^/]+|test|bench)/.exec(path)?.[0];
      if (room === undefined || path.startsWith('test/go/')) return [];
      const {
        name,
        dependencies = {},
        devDependencies = {},
      } = JSON.parse(read(`${room}/package.json`)) as {
        name: string;
        dependencies?: Record<string, string>;
        devDependencies?: Record<string, string>;
      };
      const rooms = [...read(path).matchAll(/from '(@dogwatch\/[a-z]+)\//g)].map(([, imported]) => imported ?? '');
      return rooms
        .filter((imported) => imported !== name && !(imported in dependencies || imported in devDependencies))
        .map((it) => `${path}: ${it}`);
    });
    expect(undeclared).toEqual([]);
  });
});

describe('the lockfile', () => {
  test("holds no machine's addresses or paths", () => {
    const resolved = [...read('package-lock.json').matchAll(/"resolved": "([^"]+)"/g)].map(([, where]) => where ?? '');
    expect(resolved.filter((where) => !/^(libs|services|test|bench)(\/|$)/.test(where))).toEqual([]);
  });
});

describe('commands', () => {
  test('every make target and npm script the documents name exists', () => {
    const makefile = read('Makefile');
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const documents = ['README.md', 'CONTRIBUTING.md', 'test/README.md', 'bench/README.md'].filter((path) =>
      files.includes(path),
    );
    const text = documents.map(read).join('\n');
    const targets = [...text.matchAll(/\bmake ([a-z][a-z-]*)/g)].map(([, target]) => target ?? '');
    const missing = targets.filter((target) => !new RegExp(`^${target}:`, 'm').test(makefile));
    const unknown = [...text.matchAll(/\bnpm run ([a-z:]+)/g)]
      .map(([, script]) => script ?? '')
      .filter((it) => !(it in scripts));
    expect({ missing, unknown }).toEqual({ missing: [], unknown: [] });
  });
});
