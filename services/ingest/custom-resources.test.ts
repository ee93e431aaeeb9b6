import assert from 'node:assert/strict';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { createMetrics } from '@dogwatch/process/metrics.ts';
import type { Discovery } from '@dogwatch/upstream/discovery.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { pod } from '@dogwatch/watch/test-objects.ts';
import { Ingest } from './ingest.ts';
import { SoloReigns } from './reigns.ts';
import { silent } from './test-lane.ts';
import { type TestRequest, type TestStream, TestUpstream, rejection, turns, until } from './test-upstream.ts';

const WIDGETS: Lane = { group: 'example.com', version: 'v1', resource: 'widgets', encoding: 'json', view: 'object' };
const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';

interface Told {
  rv: number;
  uid?: string;
  served?: boolean;
  selectable?: readonly string[];
  listKind?: string;
  conditions?: readonly string[];
}

/** A definition of widgets as upstream lists it. */
function definition({ rv, uid = 'u', served = true, selectable = [], listKind = 'WidgetList', conditions = [] }: Told) {
  const names = { kind: 'Widget', listKind };
  const selectableFields = selectable.map((jsonPath) => ({ jsonPath }));
  return {
    metadata: { name: 'widgets.example.com', uid, resourceVersion: String(rv) },
    spec: { scope: 'Namespaced', names, versions: [{ name: 'v1', served, selectableFields }] },
    status: { acceptedNames: names, conditions },
  };
}

function json(request: TestRequest, body: unknown): void {
  const stream = request.stream({ 'content-type': 'application/json' });
  stream.raw(JSON.stringify(body));
  stream.end();
}

/** An ingest of widgets, and kube-apiserver as the test plays it. */
class Stage {
  readonly bus = new MemoryBus();
  readonly clock = createFakeClock();
  readonly upstream = new TestUpstream();
  readonly envelopes: Envelope[] = [];
  refreshed = 0;
  readonly #abort = new AbortController();
  readonly #running: Promise<void>;

  constructor() {
    const info = { kind: 'Widget', namespaced: true, watchable: true, local: true, custom: true };
    const discovery = {
      lookup: () => Promise.resolve(info),
      refresh: () => Promise.resolve(void this.refreshed++),
    } as unknown as Discovery;
    const { bus, clock, upstream } = this;
    const deps = { bus, clock, upstream, discovery, reigns: new SoloReigns(), log: silent, random: () => 1 };
    const ingest = new Ingest({ ...deps, metrics: createMetrics() }, { maxLanes: 10 });
    this.#running = ingest.run(this.#abort.signal);
    bus.follow(trackOf(WIDGETS), (envelope) => this.envelopes.push(envelope));
    onTestFinished(async () => {
      this.#abort.abort();
      await this.#running;
      assert.equal(clock.pending, 0);
    });
  }

  get kinds(): string[] {
    return this.envelopes.map((envelope) => (envelope.kind === 'end' ? envelope.end : envelope.kind));
  }

  /** Opens the lane, told of `told` where that is asked for; undefined: it may not be read. */
  async open(told: Told | undefined, rv = 10): Promise<{ definitions: TestStream; lane: TestStream }> {
    const open = this.bus.request('open', { lane: WIDGETS });
    const definitions = (await this.watchOfDefinitions()).stream();
    const asked = await this.upstream.next();
    if (told === undefined) asked.refuse(403);
    else json(asked, { items: [definition(told)] });
    const lane = (await this.upstream.next()).listing(rv, [pod('a', 5)]);
    await open;
    return { definitions, lane };
  }

  async watchOfDefinitions(): Promise<TestRequest> {
    const request = await this.upstream.next();
    assert.deepEqual([request.path, request.isWatch], [CRDS, true]);
    return request;
  }

  /** The next question what widgets are, answered. */
  async tell(...told: readonly Told[]): Promise<void> {
    const request = await this.upstream.next();
    assert.deepEqual([request.path, request.isWatch], [CRDS, false]);
    assert.equal(request.query.get('fieldSelector'), 'metadata.name=widgets.example.com');
    json(request, { items: told.map(definition) });
    await turns();
  }
}

/** Sends an event of the watch of definitions. */
function say(stream: TestStream, type: string, rv: number, name = 'widgets.example.com'): void {
  const object = { kind: 'PartialObjectMetadata', metadata: { name, resourceVersion: String(rv) } };
  stream.raw(`${JSON.stringify({ type, object })}\n`);
}

describe('a lane of a custom resource', () => {
  test('knows list kind and selectable fields from the definition', async () => {
    const at = new Stage();
    await at.open({ rv: 3, selectable: ['.spec.color'], listKind: 'Widgets' });
    const [listing] = at.envelopes;
    const facts = listing?.kind === 'listing' ? listing.facts : undefined;
    expect(facts).toMatchObject({ kind: 'Widget', listKind: 'Widgets', layout: 'unstructured' });
    expect([...(facts?.schema.fields.keys() ?? [])]).toEqual(['metadata.name', 'metadata.namespace', 'spec.color']);
  });

  test('whose definition may not be read is served, by its metadata', async () => {
    const at = new Stage();
    await at.open(undefined);
    const [listing] = at.envelopes;
    const facts = listing?.kind === 'listing' ? listing.facts : undefined;
    expect([...(facts?.schema.fields.keys() ?? [])]).toEqual(['metadata.name', 'metadata.namespace']);
  });

  test.each([
    ['that is not there any more', []],
    ['whose version is not served', [{ rv: 3, served: false }]],
  ])('%s is a 404, before anything is read', async (_, told) => {
    const at = new Stage();
    const open = rejection(at.bus.request('open', { lane: WIDGETS }));
    (await at.watchOfDefinitions()).stream();
    await at.tell(...told);
    expect(await open).toMatchObject({ status: { code: 404 } });
    await turns();
    expect(at.upstream.requests).toHaveLength(2);
  });

  test('is not opened while upstream cannot say what it is', async () => {
    const at = new Stage();
    const open = rejection(at.bus.request('open', { lane: WIDGETS }));
    (await at.watchOfDefinitions()).stream();
    (await at.upstream.next()).refuse(500);
    expect(await open).toMatchObject({ status: { code: 503 } });
  });
});

describe('W19: a lane of a custom resource', () => {
  test.each([
    ['spec', { rv: 12, selectable: ['.spec.size'] }],
    ['accepted names', { rv: 12, listKind: 'Others' }],
    ['uid', { rv: 12, uid: 'another' }],
    ['served versions', { rv: 12, served: false }],
  ])('whose definition has another %s ends at once, cleanly', async (_, told) => {
    const at = new Stage();
    const { definitions, lane } = await at.open({ rv: 3 });
    say(definitions, 'MODIFIED', 12);
    await at.tell(told);
    await until(() => lane.cancelled);
    await turns();
    expect(at.kinds).toEqual(['listing', 'ended']);
    expect(at.refreshed).toBe(1);
    // Nobody follows a definition any more.
    expect(definitions.cancelled).toBe(true);
  });

  test('that ended is opened anew as what it is now, in a new history', async () => {
    const at = new Stage();
    const { definitions } = await at.open({ rv: 3 });
    say(definitions, 'MODIFIED', 12);
    await at.tell({ rv: 12, selectable: ['.spec.size'] });
    await at.open({ rv: 12, selectable: ['.spec.size'] }, 13);
    const second = at.envelopes[2];
    expect(second?.kind === 'listing' && second.facts.schema.fields.has('spec.size')).toBe(true);
  });

  test('goes on where only the status of its definition changed', async () => {
    const at = new Stage();
    const { definitions, lane } = await at.open({ rv: 3 });
    say(definitions, 'MODIFIED', 12);
    await at.tell({ rv: 12, conditions: ['Terminating'] });
    lane.send('MODIFIED', pod('a', 14));
    await until(() => at.kinds.length === 2);
    expect(at.kinds).toEqual(['listing', 'batch']);
  });

  test('does not ask about a version of the definition that it knows, nor about others', async () => {
    const at = new Stage();
    const { definitions } = await at.open({ rv: 3 });
    say(definitions, 'ADDED', 3);
    say(definitions, 'MODIFIED', 12, 'gadgets.example.com');
    await turns();
    expect(at.upstream.requests).toHaveLength(3);
  });

  test('asks again where it is told of a version above the one it was given', async () => {
    const at = new Stage();
    const { definitions } = await at.open({ rv: 3 });
    say(definitions, 'MODIFIED', 12);
    say(definitions, 'MODIFIED', 14);
    await at.tell({ rv: 12 });
    await at.tell({ rv: 14, uid: 'another' });
    expect(at.kinds).toEqual(['listing', 'ended']);
  });

  test('hears of a change that came while it was opened', async () => {
    const at = new Stage();
    const open = rejection(at.bus.request('open', { lane: WIDGETS }));
    const definitions = (await at.watchOfDefinitions()).stream();
    const asked = await at.upstream.next();
    say(definitions, 'MODIFIED', 12);
    await turns();
    json(asked, { items: [definition({ rv: 3 })] });
    await at.tell({ rv: 12, uid: 'another' });
    expect(await open).toMatchObject({ status: { code: 429 } });
  });

  test('whose definition is deleted brings every delete, and ends where upstream ends it', async () => {
    const at = new Stage();
    const { definitions, lane } = await at.open({ rv: 3 });
    say(definitions, 'MODIFIED', 12);
    await at.tell({ rv: 12, conditions: ['Terminating'] });
    say(definitions, 'DELETED', 20);
    lane.send('DELETED', pod('a', 19));
    await turns();
    lane.end();
    await at.tell();
    expect(at.kinds).toEqual(['listing', 'batch', 'ended']);
  });

  test('whose watch upstream cuts short though nothing changed goes on, once it is old enough', async () => {
    const at = new Stage();
    const { lane } = await at.open({ rv: 3 });
    for (const rv of [11, 12, 13]) {
      // One that is quiet for a minute is probed.
      lane.send('MODIFIED', pod('a', rv));
      await turns();
      await at.clock.advanceAsync(45_000);
    }
    lane.end();
    await at.tell({ rv: 3 });
    expect((await at.upstream.next()).from).toBe(13);
    expect(at.kinds).not.toContain('ended');
  });

  test('that is young may have been read from what was before: cut short, it ends', async () => {
    const at = new Stage();
    const { lane } = await at.open({ rv: 3 });
    lane.end();
    await at.tell({ rv: 3 });
    expect(at.kinds).toEqual(['listing', 'ended']);
  });

  test('whose definition may not be read ends whenever its watch is cut short', async () => {
    const at = new Stage();
    const { lane } = await at.open(undefined);
    lane.end();
    (await at.upstream.next()).refuse(403);
    await until(() => at.kinds.length === 2);
    expect(at.kinds).toEqual(['listing', 'ended']);
  });

  test('asks until upstream says what it is, and ends then', async () => {
    const at = new Stage();
    const { lane } = await at.open({ rv: 3 });
    lane.end();
    (await at.upstream.next()).refuse(500);
    await turns();
    await at.clock.advanceAsync(100);
    await at.tell({ rv: 12, uid: 'another' });
    expect(at.kinds).toEqual(['listing', 'ended']);
  });
});

describe('the watch of definitions', () => {
  test('is one for all lanes, and begun anew when it ends', async () => {
    const at = new Stage();
    const { definitions } = await at.open({ rv: 3 });
    const other = at.bus.request('open', { lane: { ...WIDGETS, view: 'metadata' } });
    await at.tell({ rv: 3 });
    (await at.upstream.next()).listing(10, []);
    await other;
    definitions.end();
    await turns();
    await at.clock.advanceAsync(200);
    const again = (await at.watchOfDefinitions()).stream();
    say(again, 'ADDED', 12);
    await at.tell({ rv: 12, uid: 'another' });
    await at.tell({ rv: 12, uid: 'another' });
    expect(at.kinds).toEqual(['listing', 'ended']);
  });

  test('that upstream refuses is not asked for more than once a minute', async () => {
    const at = new Stage();
    const open = at.bus.request('open', { lane: WIDGETS });
    (await at.watchOfDefinitions()).refuse(403);
    await at.tell({ rv: 3 });
    (await at.upstream.next()).listing(10, []);
    await open;
    await at.clock.advanceAsync(59_000);
    expect(at.upstream.requests).toHaveLength(3);
    await at.clock.advanceAsync(2_000);
    expect(at.upstream.requests.slice(3).some(({ path }) => path === CRDS)).toBe(true);
  });
});
