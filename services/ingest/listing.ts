import { type KubeObject, type ObjectSchema, kubeObject } from '@dogwatch/kube/kube-object.ts';
import { type Lane, laneAccept, lanePath } from '@dogwatch/kube/lane.ts';
import { objectFromListItem } from '@dogwatch/kube/list-framer.ts';
import { createListScanner } from '@dogwatch/kube/list-scanner.ts';
import { ownCopy } from '@dogwatch/kube/own-copy.ts';
import { parseResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { StatusError } from '@dogwatch/kube/status.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import type { Listing } from '@dogwatch/watch/watch-cache.ts';
import { readStatus } from './upstream-status.ts';

const PAGE_OBJECTS = 500;
/** An object is 1.5 MB in etcd at most, and more as JSON. */
const ITEM_BYTES_MAX = 32 * 1024 * 1024;

/**
 * Lists the lane page by page, consistently: every page is of the first one's version. For servers without watch-list.
 * `itemType` gives kind and apiVersion of the items, which upstream leaves out of typed lists.
 * Rejects with StatusError where upstream refuses.
 */
export async function readListing(
  upstream: Upstream,
  request: {
    lane: Lane;
    schema: ObjectSchema;
    kind: string;
    apiVersion: string;
    signal: AbortSignal;
    /** Called for each part of the answer that arrives. */
    readonly onPart: () => void;
  },
): Promise<Listing> {
  const { lane, schema, kind, apiVersion, signal, onPart } = request;
  const objects: KubeObject[] = [];
  let next = '';
  for (;;) {
    const query = new URLSearchParams({ limit: String(PAGE_OBJECTS) });
    if (next !== '') query.set('continue', next);
    const path = `${lanePath(lane)}?${query.toString()}`;
    const response = await upstream.open({ path, headers: { accept: laneAccept(lane, true) }, signal });
    if (response.status !== 200) throw new StatusError(await readStatus(response));
    const scanner = createListScanner(lane.encoding, ITEM_BYTES_MAX);
    const onItem = (item: Buffer): void => {
      // objectFromListItem may return a view of a chunk; what is kept must own its bytes.
      objects.push(kubeObject(schema, ownCopy(objectFromListItem(lane.encoding, kind, apiVersion, item))));
    };
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      onPart();
      scanner.push(chunk, onItem);
    }
    const page = scanner.end();
    next = page.continue;
    if (next !== '') continue;
    const rv = parseResourceVersion(page.resourceVersion);
    if (rv === undefined) throw new Error(`upstream listed ${lanePath(lane)} at "${page.resourceVersion}"`);
    return { rv, objects };
  }
}
