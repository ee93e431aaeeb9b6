import type { Random } from './random.ts';

/** How likely each fault is wherever it can strike, or how often beside all else that is done; 0: it never comes. */
export interface Faults {
  /** Of the envelopes of one track: lost, sent twice, sent once more behind newer ones. */
  readonly dropped: number;
  readonly doubled: number;
  readonly again: number;
  /** A track stands still, and those that do go on. */
  readonly stalled: number;
  readonly goesOn: number;
  /** Who is asked for what is missing is away, or answers as things stood when it was asked. */
  readonly away: number;
  readonly stale: number;
  /** It has forgotten what led to what it holds. Only where there are repairs. */
  readonly forgets: number;
  /** A request to a shard is lost, or its answer. */
  readonly lost: number;
  /** A client is cut off and goes elsewhere, or a scope that nobody watches is let go. */
  readonly hops: number;
  readonly releases: number;
  /** A follower, a shard or a fan-out node begins anew, or the owners of a partition change. */
  readonly followerRestarts: number;
  readonly shardRestarts: number;
  readonly nodeRestarts: number;
  readonly moves: number;
  /** Upstream cannot continue. Only where there are repairs. */
  readonly listings: number;
  /** One client in three passes over so many of its turns to read. */
  readonly slow: number;
}

export const USUAL_FAULTS: Faults = {
  dropped: 0.05,
  doubled: 0.04,
  again: 0.03,
  stalled: 0.02,
  goesOn: 0.04,
  away: 0.2,
  stale: 0.3,
  forgets: 0.3,
  lost: 0.08,
  hops: 6,
  releases: 2,
  followerRestarts: 0.2,
  shardRestarts: 0.3,
  nodeRestarts: 0.2,
  moves: 0.5,
  listings: 0.3,
  slow: 0.95,
};

/** Without these nothing would begin, or go on. */
const ALWAYS: ReadonlySet<string> = new Set(['hops', 'goesOn']);
/** These are not chances: how often beside all else that is done. */
const RATES: ReadonlySet<string> = new Set([
  'hops',
  'releases',
  'followerRestarts',
  'shardRestarts',
  'nodeRestarts',
  'moves',
  'listings',
]);
/** Something has to get through. */
const CHANCE_MAX = 0.6;

/** Some of the faults, each as often as usual, rarer or more often: what one fault hides, a run without it shows. */
export function drawFaults(random: Random): Faults {
  const drawn = Object.entries(USUAL_FAULTS).map(([fault, usual]: [string, number]) => {
    const never = random.chance(0.35) && !ALWAYS.has(fault);
    const often = usual * random.pick([0.3, 1, 1, 2, 5]);
    const most = RATES.has(fault) ? Number.POSITIVE_INFINITY : Math.max(usual, CHANCE_MAX);
    return [fault, never ? 0 : Math.min(often, most)];
  });
  return Object.fromEntries(drawn) as unknown as Faults;
}
