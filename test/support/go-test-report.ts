export type GoOutcome = 'PASS' | 'FAIL' | 'SKIP';

/**
 * The outcome of each case in the output of `go test -v`, by its full name. Only the cases themselves: a test that has
 * cases of its own says no more than they do.
 */
export function goTestCases(output: string): Map<string, GoOutcome> {
  const found = new Map<string, GoOutcome>();
  for (const [, outcome, name = ''] of output.matchAll(/^ *--- (PASS|FAIL|SKIP): (.+) \(\d+\.\d+s\)$/gm)) {
    found.set(name, outcome as GoOutcome);
  }
  for (const name of found.keys()) {
    for (let at = name.indexOf('/'); at >= 0; at = name.indexOf('/', at + 1)) found.delete(name.slice(0, at));
  }
  return found;
}

/** What a failed case has said, with the cases inside it; at most `limit` characters. */
export function goTestLog(output: string, name: string, limit = 1_000): string {
  const [top = ''] = name.split('/');
  const start = output.indexOf(`=== RUN   ${top}\n`);
  const marks = [`=== NAME  ${name}\n`, `=== RUN   ${name}\n`].map((mark) => output.indexOf(mark, start));
  const at = Math.min(...marks.filter((index) => index >= 0));
  return Number.isFinite(at) ? output.slice(at, at + limit) : '';
}
