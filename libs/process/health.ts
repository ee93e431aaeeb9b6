/** One condition of being ready. */
export interface Check {
  /** Lower case words with dashes; part of a path. */
  readonly name: string;
  /** The reason why it fails, in a few words, or undefined. Called at each request: cheap, and never throws. */
  check(): undefined | string;
}

export interface HealthAnswer {
  readonly status: 200 | 404 | 500;
  readonly text: string;
}

/** How checks are asked for: `?verbose` and `?exclude=NAME`, which may be repeated. */
export interface HealthQuery {
  readonly verbose: boolean;
  readonly exclude: readonly string[];
}

/**
 * All checks of a health endpoint in kube-apiserver's text format: `ok`, or with `verbose`, and always on failure, a
 * line for each. kube-apiserver withholds reasons because its endpoint is public; this one is the operator's, so they show.
 */
export function answerHealth(
  endpoint: string,
  checks: readonly Check[],
  { verbose, exclude }: HealthQuery,
): HealthAnswer {
  const excluded = new Set(exclude);
  const lines: string[] = [];
  let failed = false;
  for (const check of checks) {
    const { name } = check;
    if (excluded.delete(name)) {
      lines.push(`[+]${name} excluded: ok`);
      continue;
    }
    const reason = check.check();
    if (reason !== undefined) failed = true;
    lines.push(reason === undefined ? `[+]${name} ok` : `[-]${name} failed: ${reason}`);
  }
  if (excluded.size > 0) {
    const names = [...excluded].map((name) => JSON.stringify(name)).join(', ');
    lines.push(`warn: some health checks cannot be excluded: no matches for ${names}`);
  }
  if (failed) return { status: 500, text: `${lines.join('\n')}\n${endpoint} check failed\n` };
  return { status: 200, text: verbose ? `${lines.join('\n')}\n${endpoint} check passed\n` : 'ok' };
}

/** One check by its own path, `/readyz/NAME`. */
export function answerCheck(checks: readonly Check[], name: string): HealthAnswer {
  const check = checks.find((candidate) => candidate.name === name);
  if (check === undefined) return { status: 404, text: '404 page not found\n' };
  const reason = check.check();
  return reason === undefined
    ? { status: 200, text: 'ok' }
    : { status: 500, text: `internal server error: ${reason}\n` };
}
