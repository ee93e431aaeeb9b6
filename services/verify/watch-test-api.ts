import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { selectorOf } from '@dogwatch/checker/interest.ts';
import type { ObjectEvent } from '@dogwatch/checker/recorded.ts';

interface WireEvent {
  readonly type: string;
  readonly object: object;
}

/** Changes what a stream is sent in place of its nth live event. */
export type StreamFault = (event: WireEvent, n: number) => readonly WireEvent[];

interface Watcher {
  readonly send: (event: WireEvent) => void;
  readonly matches: (event: ObjectEvent) => boolean;
  count: number;
}

/** What happens to config maps in two namespaces, told to the watches of any number of servers. */
export class TestHistory {
  readonly #events: ObjectEvent[] = [];
  readonly #held = new Map<string, ObjectEvent>();
  readonly #watchers = new Set<Watcher>();
  #rv = 100;

  constructor() {
    for (const key of ['a/one', 'a/two', 'b/one']) this.#put(key, 'red');
  }

  /** One more change; over time objects are made, changed, deleted and take other labels. */
  step(): void {
    const n = this.#rv;
    const key = ['a/one', 'b/one', 'a/two', 'b/new'][n % 4] ?? '';
    if (n % 7 === 0 && this.#held.has(key)) this.#delete(key);
    else this.#put(key, n % 3 === 0 ? 'red' : 'blue');
  }

  /** Tells a watch everything, and what comes; returns what ends it. */
  follow(url: URL, write: (event: WireEvent) => void, fault: StreamFault): () => void {
    const namespace = /\/namespaces\/([^/]+)\//.exec(url.pathname)?.[1];
    const selector = selectorOf({
      ...(namespace === undefined ? {} : { namespace }),
      labelSelector: url.searchParams.get('labelSelector') ?? '',
      fieldSelector: url.searchParams.get('fieldSelector') ?? '',
    });
    const watcher: Watcher = {
      matches: (event) => selector.matches(event),
      send: (event) => {
        watcher.count += 1;
        for (const sent of fault(event, watcher.count)) write(sent);
      },
      count: 0,
    };
    if (url.searchParams.get('sendInitialEvents') === 'true') {
      const there = [...this.#held.values()].filter(watcher.matches).toSorted((a, b) => (a.key < b.key ? -1 : 1));
      for (const event of there) write({ type: 'ADDED', object: objectOf(event) });
      const annotations = { 'k8s.io/initial-events-end': 'true' };
      write({ type: 'BOOKMARK', object: { metadata: { resourceVersion: `${this.#rv}`, annotations } } });
    } else {
      const from = Number(url.searchParams.get('resourceVersion'));
      const before = new Map<string, ObjectEvent>();
      for (const event of this.#events) {
        if (event.rv > from) tell(watcher, event, before.get(event.key));
        if (event.type === 'DELETED') before.delete(event.key);
        else before.set(event.key, event);
      }
    }
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  #put(key: string, colour: string): void {
    const held = this.#held.get(key);
    this.#rv += 1;
    const uid = held?.uid ?? `uid-${this.#rv}`;
    this.#happen({ type: held === undefined ? 'ADDED' : 'MODIFIED', key, uid, rv: this.#rv, labels: { colour } });
  }

  #delete(key: string): void {
    const held = this.#held.get(key);
    this.#rv += 1;
    if (held !== undefined) this.#happen({ ...held, type: 'DELETED', rv: this.#rv });
  }

  #happen(event: ObjectEvent): void {
    const was = this.#held.get(event.key);
    this.#events.push(event);
    if (event.type === 'DELETED') this.#held.delete(event.key);
    else this.#held.set(event.key, event);
    for (const watcher of this.#watchers) tell(watcher, event, was);
  }
}

function tell({ matches, send }: Watcher, event: ObjectEvent, was: ObjectEvent | undefined): void {
  const before = was !== undefined && matches(was);
  if (event.type !== 'DELETED' && matches(event)) {
    send({ type: before ? 'MODIFIED' : 'ADDED', object: objectOf(event) });
  } else if (before) send({ type: 'DELETED', object: objectOf({ ...was, rv: event.rv }) });
}

function objectOf({ key, uid, rv, labels }: ObjectEvent): object {
  const [namespace, name] = key.split('/');
  return { kind: 'ConfigMap', apiVersion: 'v1', metadata: { name, namespace, uid, resourceVersion: `${rv}`, labels } };
}

/** A server of watches on a free port of 127.0.0.1; with a number for a fault it refuses them with that status. */
export async function serveWatches(
  history: TestHistory,
  fault: StreamFault | number = (event) => [event],
): Promise<{ readonly url: string; close(): void }> {
  const server: Server = createServer((request, response) => {
    if (typeof fault === 'number') {
      response.writeHead(fault).end();
      return;
    }
    const url = new URL(request.url ?? '', 'http://test');
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const end = history.follow(url, (event) => void response.write(`${JSON.stringify(event)}\n`), fault);
    const timer = setTimeout(() => response.end(), Number(url.searchParams.get('timeoutSeconds')) * 100);
    response.once('close', () => {
      clearTimeout(timer);
      end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
