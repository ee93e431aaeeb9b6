import type { Interest } from '@dogwatch/watch/interest.ts';
import type { LaneView } from '@dogwatch/watch/lane-view.ts';
import { answerHeaders } from './answer.ts';
import type { Exchange, ResponseHeaders } from './exchange.ts';

/** True if every field the interest selects by can be evaluated here; other labels are upstream's to answer. */
export function isSelectable({ facts }: LaneView, { fields }: Interest): boolean {
  return fields.requirements.every(({ field }) => facts.schema.fields.has(field));
}

/** Headers of an answer made from a lane, with the warnings upstream gives for its resource (protocol row H4). */
export function laneHeaders(exchange: Exchange, { facts }: LaneView, contentType: string): ResponseHeaders {
  const warning = facts.warnings.length > 0 ? { warning: [...facts.warnings] } : {};
  return answerHeaders(exchange, { 'content-type': contentType, ...warning });
}
