import type { ObjectEvent } from './watch-recorder.ts';

/** What an informer told its handler, as the program `informers verify --story` writes it. */
export interface Told {
  /** LISTED: as a part of its first list. MISSED: deleted, as a later list shows. */
  readonly type: 'LISTED' | 'ADDED' | 'MODIFIED' | 'DELETED' | 'MISSED';
  readonly key: string;
  readonly uid: string;
  readonly rv: number;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** Versions (after, upTo] of which upstream could give a list only. */
export interface Passed {
  readonly after: number;
  readonly upTo: number;
}

export interface StoryCheck {
  /** All events of the resource, from before the first one that is owed, ascending. */
  readonly history: readonly ObjectEvent[];
  /** Every event above is owed, */
  readonly from: number;
  /** up to this one. */
  readonly to: number;
  readonly passed: readonly Passed[];
  /**
   * It listed again, and was told of what differed and of what it held, in the order of keys: of this neither order nor
   * repetition says anything. All else holds.
   */
  readonly relisted?: boolean;
}

/**
 * What an informer was told wrongly: twice, out of order, never happened, or not at all. Of passed versions it need
 * not be told the states that did not last to their end, and a delete may stand at any of their versions or where they
 * begin.
 */
export function checkStory(told: readonly Told[], check: StoryCheck): string[] {
  const against = { ...check, passed: merged(check.passed) };
  const { relisted = false } = check;
  return [...(relisted ? [] : checkSequence(told)), ...checkTrue(told, against), ...checkWhole(told, against)];
}

function text({ type, key, uid, rv }: Pick<Told, 'key' | 'uid' | 'rv'> & { readonly type: string }): string {
  return `${type} ${key} ${uid}@${rv}`;
}

/** Intervals that overlap, as one. */
function merged(passed: readonly Passed[]): Passed[] {
  const whole: Passed[] = [];
  for (const next of passed.toSorted((a, b) => a.after - b.after)) {
    const last = whole.at(-1);
    if (last === undefined || next.after > last.upTo) whole.push(next);
    else whole[whole.length - 1] = { after: last.after, upTo: Math.max(last.upTo, next.upTo) };
  }
  return whole;
}

/** Nothing doubled, nothing out of order. */
function checkSequence(told: readonly Told[]): string[] {
  const held = new Map<string, Told>();
  const found: string[] = [];
  let newest = 0;
  for (const event of told) {
    const { type, key, uid, rv } = event;
    const before = held.get(key);
    if (type === 'MISSED') found.push(`${text(event)}: told by a list, not by an event`);
    if (type !== 'LISTED' && rv < newest) found.push(`${text(event)}: behind ${newest}`);
    if (type !== 'LISTED') newest = Math.max(newest, rv);
    const isNew = type === 'LISTED' || type === 'ADDED';
    if (isNew && before !== undefined) found.push(`${text(event)}: ${before.uid}@${before.rv} is held`);
    if (!isNew && before?.uid !== uid) found.push(`${text(event)}: ${before?.uid ?? 'nothing'} is held`);
    if (type === 'MODIFIED' && before !== undefined && rv <= before.rv) {
      found.push(`${text(event)}: ${before.rv} is held, ${rv === before.rv ? 'doubled' : 'back in time'}`);
    }
    if (type === 'DELETED' || type === 'MISSED') held.delete(key);
    else held.set(key, event);
  }
  return found;
}

/** Nothing that never happened. */
function checkTrue(told: readonly Told[], { history, from, passed }: StoryCheck): string[] {
  const puts = new Set(history.filter(({ type }) => type !== 'DELETED').map(state));
  const deletes = new Map(history.filter(({ type }) => type === 'DELETED').map(({ uid, rv }) => [uid, rv]));
  const happened = ({ type, uid, rv }: Told): boolean => {
    if (type === 'MISSED') return deletes.has(uid);
    if (type !== 'DELETED') return puts.has(`${uid}@${rv}`);
    const at = deletes.get(uid);
    // A delete that was found by comparing stands at the version held before.
    return at === rv || passed.some(({ after, upTo }) => at !== undefined && after <= rv && rv < at && at <= upTo);
  };
  return told
    .filter((event) => event.rv > from && event.type !== 'LISTED' && !happened(event))
    .map((event) => `${text(event)}: never happened`);
}

/** Nothing left out. */
function checkWhole(told: readonly Told[], { history, from, to, passed }: StoryCheck): string[] {
  const states = new Set(told.filter(({ type }) => type !== 'DELETED' && type !== 'MISSED').map(state));
  const gone = new Set(told.filter(({ type }) => type === 'DELETED' || type === 'MISSED').map(({ uid }) => uid));
  const seen = new Set(told.filter(({ type }) => type !== 'DELETED' && type !== 'MISSED').map(({ uid }) => uid));
  const excused = intermediate(history, passed);
  return history
    .filter(({ rv }) => rv > from && rv <= to)
    .filter((event) => {
      if (event.type === 'DELETED') return !gone.has(event.uid) && (seen.has(event.uid) || !excused.has(event));
      return !states.has(state(event)) && !excused.has(event);
    })
    .map((event) => `${text(event)}: not told`);
}

/**
 * Of each passed interval the events that were not the last of their object, and the deletes of objects that came in
 * it: nobody who holds what was before them can miss those.
 */
function intermediate(history: readonly ObjectEvent[], passed: readonly Passed[]): ReadonlySet<ObjectEvent> {
  const found = new Set<ObjectEvent>();
  for (const { after, upTo } of passed) {
    const within = history.filter(({ rv }) => rv > after && rv <= upTo);
    const last = new Map(within.map((event) => [event.key, event]));
    const born = new Set(within.filter(({ type }) => type === 'ADDED').map(({ uid }) => uid));
    for (const event of within) {
      if (event.type === 'DELETED' ? born.has(event.uid) : last.get(event.key) !== event) found.add(event);
    }
  }
  return found;
}

function state({ uid, rv }: Pick<Told, 'uid' | 'rv'>): string {
  return `${uid}@${rv}`;
}
