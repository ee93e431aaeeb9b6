import { checkBookmarks } from './bookmark-checks.ts';
import { checkCreate, checkFilter, checkGenuine, checkPrevious } from './content-checks.ts';
import { checkConvergence } from './convergence-check.ts';
import { checkEnding } from './ending-check.ts';
import { checkReliability, checkResumability } from './gap-checks.ts';
import { checkInitial } from './initial-checks.ts';
import { checkLeak, type Rights } from './leak-check.ts';
import { checkOrder, checkUnique } from './order-checks.ts';
import { checkBeginning, checkFloor, checkFreshness, checkVisibility } from './read-checks.ts';
import type { PassedOver, Recording } from './recorded.ts';
import type { Reference } from './reference.ts';
import { StreamView } from './stream-view.ts';
import { type CheckName, type Finding, violation, type Violation } from './violation.ts';

export interface CheckOptions {
  /** Every event up to this version is owed to streams that are open; the reference must reach it. */
  readonly upTo: number;
  /** Exceptions, by name. Default: none. */
  readonly passedOver?: readonly PassedOver[];
  /** Codes of ERROR events a watch may end with. Default: none. */
  readonly allowedErrors?: readonly number[];
  /** Who may read what; undefined: not checked. */
  readonly rights?: Rights;
  /** Bound of read-your-writes in milliseconds, and when the recording stopped; undefined: not checked. */
  readonly visibility?: { readonly withinMs: number; readonly until: number };
}

/** What `check` found. */
export interface Verdict {
  /** At most `VIOLATIONS_MAX` of each check on each stream, in the order of streams. */
  readonly violations: readonly Violation[];
  /** How many more there are. */
  readonly omitted: number;
}

/** Violations of one check shown of one stream; of more only the number is told. */
const VIOLATIONS_MAX = 10;

/**
 * Holds a recording against a reference history: each check by itself, pure. Throws CheckError if the reference does
 * not reach back to where a stream began, or lacks what a stream selects by.
 */
export function check(recording: Recording, reference: Reference, options: CheckOptions): Verdict {
  const { upTo, passedOver = [] } = options;
  const views = recording.streams.map((stream) => {
    return new StreamView(stream, reference.owed(stream.request), { upTo, passedOver });
  });
  const known = views.filter(({ start }) => start === undefined || start >= reference.from);
  const older = views.filter((view) => !known.includes(view));
  const violations: Violation[] = [];
  let omitted = 0;
  for (const { view, name, findings } of [
    ...older.map((view) => ({ view, name: 'floor' as const, findings: checkBeginning(view, reference) })),
    ...known.flatMap((its) => ofStream(its, reference, { ...options, recording })),
    ...ofClients(known, reference),
  ]) {
    for (const finding of findings.slice(0, VIOLATIONS_MAX)) {
      violations.push(violation(name, view.stream, reference, finding));
    }
    omitted += Math.max(0, findings.length - VIOLATIONS_MAX);
  }
  const stale = checkFloor(recording.reads ?? [], reference);
  violations.push(...stale.slice(0, VIOLATIONS_MAX));
  return { violations, omitted: omitted + Math.max(0, stale.length - VIOLATIONS_MAX) };
}

/** For a failing test: how many violations of each check, and of each the first three with their excerpts. */
export function summarise({ violations, omitted }: Verdict): string {
  const byCheck = Map.groupBy(violations, ({ check: name, promise }) => `${promise} ${name}`);
  const parts = [...byCheck].map(([what, found]) => {
    const first = found.slice(0, 3).map(({ detail, excerpt }) => `${detail}\n${excerpt}`);
    return [`${what}: ${found.length} violations`, ...first].join('\n');
  });
  return [...parts, ...(omitted === 0 ? [] : [`${omitted} more violations`])].join('\n\n');
}

interface Checked {
  readonly view: StreamView;
  readonly name: CheckName;
  readonly findings: readonly Finding[];
}

/** What is wrong with the events themselves first, then what follows from it. */
function ofStream(
  view: StreamView,
  reference: Reference,
  { rights, visibility, allowedErrors = [], recording }: CheckOptions & { readonly recording: Recording },
): Checked[] {
  const found: Partial<Record<CheckName, Finding[]>> = {
    leak: rights === undefined ? [] : checkLeak(view, reference, rights),
    filter: checkFilter(view, reference),
    genuine: checkGenuine(view, reference),
    create: checkCreate(view, reference),
    previous: checkPrevious(view, reference),
    initial: checkInitial(view, reference),
    order: checkOrder(view),
    unique: checkUnique(view, reference),
    bookmarks: checkBookmarks(view, reference),
    resumability: checkResumability(view, reference),
    reliability: checkReliability(view),
    ending: checkEnding(view, allowedErrors),
    floor: checkFreshness(view, reference),
    visibility: visibility === undefined ? [] : checkVisibility(view, recording.writes ?? [], visibility),
  };
  return (Object.entries(found) as [CheckName, Finding[]][]).map(([name, findings]) => ({ view, name, findings }));
}

function ofClients(views: readonly StreamView[], reference: Reference): Checked[] {
  const byClient = Map.groupBy(views, ({ stream }) => stream.client ?? stream);
  return [...byClient.values()].flatMap((its) => {
    const view = its.at(-1);
    return view === undefined
      ? []
      : [{ view, name: 'convergence' as const, findings: checkConvergence(its, reference) }];
  });
}
