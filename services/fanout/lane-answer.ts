import { isCachedUpstream } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { type StatusBody, StatusError, tooOldForStore, tooOldToWatch } from '@dogwatch/kube/status.ts';
import type { ResourceInfo } from '@dogwatch/upstream/discovery.ts';
import type { Interest } from '@dogwatch/watch/interest.ts';
import type { LaneView } from '@dogwatch/watch/lane-view.ts';
import { answerHeaders, warningHeader } from './answer.ts';
import type { Exchange, ResponseHeaders } from './exchange.ts';

/** A status that stands for an answer from a lane: it comes with what upstream warns of (protocol row H4). */
export class LaneRefusal extends StatusError {
  readonly warnings: readonly string[];

  constructor({ facts }: LaneView, cause: StatusError) {
    super(cause.status, { cause });
    this.warnings = facts.warnings;
  }
}

/** `error`, if it is a status with the lane's warnings. */
export function refusalOf(view: LaneView, error: unknown): unknown {
  return error instanceof StatusError ? new LaneRefusal(view, error) : error;
}

/** True if every field the interest selects by can be evaluated here; other labels are upstream's to answer. */
export function isSelectable({ facts }: LaneView, { fields }: Interest): boolean {
  return fields.requirements.every(({ field }) => facts.schema.fields.has(field));
}

/**
 * False if a custom resource was deleted and made again with another scope since discovery was read, by which the
 * request was understood (protocol row W19).
 */
export function hasScopeOf({ facts }: LaneView, { custom, namespaced }: ResourceInfo): boolean {
  return !custom || facts.schema.fields.has('metadata.namespace') === namespaced;
}

/**
 * That a watch cannot go on from `rv`, for everything before `oldest` is forgotten, in upstream's words (protocol rows
 * W8, W9).
 */
export function tooOld({ lane }: LaneView, rv: ResourceVersion, oldest: ResourceVersion): StatusBody {
  return isCachedUpstream(lane) ? tooOldToWatch(String(rv), oldest) : tooOldForStore();
}

/** Headers of an answer made from a lane, with the warnings upstream gives for its resource (protocol row H4). */
export function laneHeaders(exchange: Exchange, { facts }: LaneView, contentType: string): ResponseHeaders {
  return answerHeaders(exchange, { 'content-type': contentType, ...warningHeader(facts.warnings) });
}
