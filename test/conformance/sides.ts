import assert from 'node:assert/strict';
import { type CaseEvent, CaseWatch } from '@dogwatch/bench/case-watch.ts';
import { eventually } from '../support/eventually.ts';
import type { Endpoint, KubeClient, KubeResponse } from '../support/kube-client.ts';
import { Stage } from './stage.ts';

/** One of each: at kube-apiserver itself, and through dogwatch. */
export interface Pair<T> {
  readonly direct: T;
  readonly through: T;
}

/** A resource that was just defined anew is (re)initializing for a moment: then it is asked again. */
const INITIALIZING = 429;

/** Does the same at kube-apiserver itself and through dogwatch, and compares what comes of it. */
export class Sides {
  readonly stage: Stage;
  readonly direct: KubeClient;
  readonly through: KubeClient;
  #watches: CaseWatch[] = [];

  private constructor(stage: Stage) {
    this.stage = stage;
    this.direct = stage.plane.client('admin');
    this.through = stage.client('admin');
  }

  /** Of a stage of its own, which ends with it. */
  static async start(): Promise<Sides> {
    return new Sides(await Stage.start());
  }

  async watch(path: string): Promise<Pair<CaseWatch>> {
    return {
      direct: await this.watchAt(this.stage.plane.endpoint, path),
      through: await this.watchAt(this.stage.through, path),
    };
  }

  watchAt(endpoint: Endpoint, path: string): Promise<CaseWatch> {
    return eventually({ what: `${path} is served`, timeoutMs: 15_000 }, async () => {
      const watch = await CaseWatch.open(endpoint, this.stage.plane.token('admin'), path);
      this.#watches.push(watch);
      return watch.status !== INITIALIZING && watch;
    });
  }

  /** The answer to a GET, which must be the same on both sides, and of this status; default 200. */
  async expectSame(
    path: string,
    { status = 200, headers = {} }: { status?: number; headers?: Record<string, string> } = {},
  ): Promise<KubeResponse> {
    const answers = { direct: await settled(this.direct), through: await settled(this.through) };
    assert.deepEqual(seen(answers.through), seen(answers.direct), path);
    assert.equal(answers.through.status, status, path);
    return answers.through;

    function settled(client: KubeClient): Promise<KubeResponse> {
      return eventually({ what: `${path} is served`, timeoutMs: 15_000 }, async () => {
        const response = await client.request('GET', path, { headers });
        return response.status !== INITIALIZING && response;
      });
    }
  }

  /** Both watches end cleanly, having sent the same, which it gives; bookmarks are each server's own. */
  async expectSameEnd({ direct, through }: Pair<CaseWatch>): Promise<CaseEvent[]> {
    const [left, right] = await Promise.all([direct.rest(), through.rest()]);
    assert.deepEqual(withoutBookmarks(right), withoutBookmarks(left));
    return withoutBookmarks(right);
  }

  /** Both watches send the same `count` events next, which it gives. */
  async expectSameNext({ direct, through }: Pair<CaseWatch>, count: number): Promise<CaseEvent[]> {
    const [left, right] = await Promise.all([direct.take(count), through.take(count)]);
    assert.deepEqual(right, left);
    return right;
  }

  closeWatches(): void {
    for (const watch of this.#watches) watch.close();
    this.#watches = [];
  }

  async stop(): Promise<void> {
    this.closeWatches();
    this.direct.close();
    this.through.close();
    await this.stage.stop();
  }
}

/** The events up to the bookmark that ends the initial ones, with it, its version left out: each server has its own. */
export async function initialEvents(watch: CaseWatch): Promise<CaseEvent[]> {
  const events: CaseEvent[] = [];
  for (;;) {
    const event = await watch.next();
    if (event === undefined) throw new Error('the watch ended before its end bookmark');
    if (event.type !== 'BOOKMARK') {
      events.push(event);
      continue;
    }
    const metadata = { ...event.object.metadata, resourceVersion: '*' };
    return [...events, { ...event, object: { ...event.object, metadata } }];
  }
}

/** Names of the objects of a list. */
export function named({ body }: KubeResponse): string[] {
  const { items } = JSON.parse(body) as { items: { metadata: { name: string } }[] };
  return items.map(({ metadata }) => metadata.name);
}

/** What every client sees of an answer, but for the version of a list, which other writes move. */
function seen({ status, headers, body }: KubeResponse): object {
  const text = body.replace(/("metadata":\{(?:"continue":"[^"]*",)?"resourceVersion":")\d+/, '$1*');
  return { status, type: headers['content-type'], warning: headers['warning'], body: text };
}

function withoutBookmarks(events: readonly CaseEvent[]): CaseEvent[] {
  return events.filter(({ type }) => type !== 'BOOKMARK');
}
