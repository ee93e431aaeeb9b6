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
  fences: number;
  verifications: number;
  backfills: number;
}

export function createCounters(): IngestCounters {
  return { listings: 0, events: 0, repeats: 0, expired: 0, fences: 0, verifications: 0, backfills: 0 };
}
