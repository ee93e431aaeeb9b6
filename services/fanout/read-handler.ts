import { frameList } from '@dogwatch/kube/list-framer.ts';
import { StatusError, notFound, tooLargeResourceVersion } from '@dogwatch/kube/status.ts';
import type { LaneView } from '@dogwatch/watch/lane-view.ts';
import { answerHeaders } from './answer.ts';
import { isSelectable, laneHeaders } from './lane-answer.ts';
import type { ClientStream, Exchange } from './exchange.ts';
import type { Freshness, GetPlan, ListPlan } from './plan.ts';
import { FRESHNESS_TIMEOUT_MS } from './watch-handler.ts';

/** Answers a GET from the lane. Rejects with StatusError (404, 504). */
export async function answerGet(exchange: Exchange, plan: GetPlan, view: LaneView): Promise<void> {
  await waitUntilFresh(view, plan.freshness);
  const { interest, lane } = plan;
  const object = view.cache.get(interest.keyPrefix + interest.name);
  if (object === undefined) throw new StatusError(notFound(lane, interest.name));
  const body = lane.encoding === 'json' ? Buffer.concat([object.bytes, NEWLINE]) : object.bytes;
  exchange.respond(200, answerHeaders(exchange, { 'content-type': plan.contentType }), body);
}

const NEWLINE = Buffer.from('\n');

/** Answers a LIST from the lane, streamed from stored bytes at the client's pace. Rejects with StatusError (504). */
export async function answerList(exchange: Exchange, plan: ListPlan, view: LaneView): Promise<'done' | 'forward'> {
  if (!isSelectable(view, plan.interest)) return 'forward';
  await waitUntilFresh(view, plan.freshness);
  const { interest, lane } = plan;
  const objects: Buffer[] = [];
  for (const { bytes } of view.cache.select(interest)) objects.push(bytes);
  const { apiVersion, layout, listKind: kind } = view.facts;
  const head = { kind, apiVersion, layout, resourceVersion: view.cache.watermark };
  writeAll(
    exchange.stream(200, laneHeaders(exchange, view, plan.contentType)),
    frameList(lane.encoding, head, objects),
  );
  return 'done';
}

async function waitUntilFresh(view: LaneView, freshness: Freshness): Promise<void> {
  if (freshness.kind !== 'not-older-than') return;
  if (await view.reached(freshness.rv, FRESHNESS_TIMEOUT_MS)) return;
  throw new StatusError(tooLargeResourceVersion(String(freshness.rv), String(view.cache.watermark)));
}

/** Writes the parts as fast as the client takes them, and ends the stream. */
function writeAll(client: ClientStream, parts: Iterator<Buffer>): void {
  let open = true;
  const proceed = (): void => {
    while (open) {
      const { value, done } = parts.next();
      if (done === true) {
        client.end();
        return;
      }
      if (!client.write(value)) return;
    }
  };
  client.listen({ onDrain: proceed, onClose: () => (open = false) });
  proceed();
}
