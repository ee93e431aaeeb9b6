/** What the ingest has done since it started, in plain numbers read at scrape time. */
export interface IngestCounters {
  /** LIST or watch-list requests made for the state of a lane. */
  listings: number;
  /** Changes read. */
  events: number;
  /** Changes a resumed watch sent again. */
  repeats: number;
  /** Times upstream answered 410 to a lane's watch. */
  expired: number;
  /** Times what was read could not be published as it was. */
  losses: number;
  fences: number;
  verifications: number;
  backfills: number;
  /** Envelopes stored in the log. */
  appends: number;
  /** Times the ring let go of changes the log had not taken yet. */
  holes: number;
  /** Times this ingest began to publish a lane that had been published before. */
  takeovers: number;
}

export function createCounters(): IngestCounters {
  return {
    listings: 0,
    events: 0,
    repeats: 0,
    expired: 0,
    losses: 0,
    fences: 0,
    verifications: 0,
    backfills: 0,
    appends: 0,
    holes: 0,
    takeovers: 0,
  };
}
