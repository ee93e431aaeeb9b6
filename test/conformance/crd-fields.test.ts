// Custom resources by the fields they can be selected by (protocol section 1.5): what dogwatch answers is what
// kube-apiserver answers in the same moment.
import type { CaseEvent, CaseWatch } from '@dogwatch/bench/case-watch.ts';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { byResource } from '../support/prometheus-text.ts';
import { CustomResource } from './custom-resource.ts';
import { Sides, named } from './sides.ts';
import { NEEDS_DOGWATCH, type Stage, UPSTREAM_READERS } from './stage.ts';

const WATCH_LIST = 'watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan';
const STRING = { type: 'string' };
const INTEGER = { type: 'integer' };
const BOOLEAN = { type: 'boolean' };
const PRESERVED = { 'x-kubernetes-preserve-unknown-fields': true };

let stage: Stage;
let sides: Sides;

beforeAll(async () => {
  sides = await Sides.start();
  ({ stage } = sides);
});

afterEach(() => sides?.closeWatches());

afterAll(() => sides?.stop());

describe('S2: a custom resource is selected by the fields of its version', () => {
  let resource: CustomResource;
  const selectableFields = ['.spec.color', '.spec.size', '.spec.on', '.spec.deep.er'].map((jsonPath) => ({ jsonPath }));

  beforeAll(async () => {
    resource = CustomResource.ofNewGroup(stage.plane.admin);
    const deep = { type: 'object', properties: { er: STRING } };
    const fields = { color: STRING, size: INTEGER, on: BOOLEAN, deep };
    await resource.define([
      { name: 'v1', fields, selectableFields },
      { name: 'v2', fields: { ...fields, more: STRING }, selectableFields: [{ jsonPath: '.spec.size' }] },
    ]);
    const widgets: [string, object][] = [
      ['none', {}],
      ['empty', { color: '', deep: {} }],
      ['blue', { color: 'blue', size: 1, on: true, deep: { er: 'x' } }],
      ['red', { color: 'red', size: -3, on: false }],
      ['zero', { size: 0 }],
      ['large', { size: 9_007_199_254_740_991 }],
      ['odd', { color: 'a,b=c\\d é', deep: { er: '1' } }],
    ];
    for (const [name, spec] of widgets) await resource.create(name, spec, { labels: { name } });
  });

  test.each([
    'spec.color=blue',
    'spec.color!=blue',
    'spec.color=',
    'spec.size=1',
    'spec.size=-3',
    'spec.size=0',
    'spec.size=01',
    'spec.size=',
    'spec.size=9007199254740991',
    'spec.on=true',
    'spec.on=false',
    'spec.on=',
    'spec.deep.er=x',
    'spec.deep.er=,spec.color!=red',
    String.raw`spec.color=a\,b\=c\\d é`,
    'spec.color=blue,metadata.name=blue',
    'metadata.namespace=default,spec.on=true',
  ])('%s', async (selector) => {
    for (const version of ['', '0']) {
      const query = new URLSearchParams({ fieldSelector: selector, resourceVersion: version });
      await sides.expectSame(`${resource.collection()}?${query.toString()}`);
    }
    const query = `${WATCH_LIST}&fieldSelector=${encodeURIComponent(selector)}`;
    const pair = await sides.watch(`${resource.collection()}?${query}`);
    for (const watch of [pair.direct, pair.through]) expect(watch.status).toBe(200);
    const initial = async (watch: CaseWatch): Promise<CaseEvent[]> => {
      const events: CaseEvent[] = [];
      for (let event = await watch.next(); event !== undefined && event.type !== 'BOOKMARK'; event = await watch.next())
        events.push(event);
      return events;
    };
    expect(await initial(pair.through)).toEqual(await initial(pair.direct));
  });

  test('the selectors above select something, and not everything', async () => {
    const list = async (selector: string): Promise<string[]> =>
      named(await sides.through.request('GET', `${resource.collection()}?resourceVersion=0&fieldSelector=${selector}`));
    expect(await list('spec.size%3D1')).toEqual(['blue']);
    expect(await list('spec.on%3D')).toEqual(['empty', 'large', 'none', 'odd', 'zero']);
  });

  test.each([
    ['v1', 'spec.other=1'],
    ['v2', 'spec.color=blue'],
    ['v1', '.spec.color=blue'],
    ['v1', 'spec=1'],
  ])('of %s, %s is refused', async (version, selector) => {
    for (const query of ['resourceVersion=0', WATCH_LIST]) {
      const path = `${resource.collection({ version })}?${query}&fieldSelector=${encodeURIComponent(selector)}`;
      const { body } = await sides.expectSame(path, { status: 400 });
      expect(body).toContain('field label not supported');
    }
  });

  test('each version has its own', async () => {
    const path = `${resource.collection({ version: 'v2' })}?resourceVersion=0&fieldSelector=spec.size%3D1`;
    expect(named(await sides.expectSame(path))).toEqual(['blue']);
  });

  test('W15: entering and leaving a field selector', async () => {
    const { metadata } = await resource.create('moving', { color: 'blue', size: 5 });
    const query = `watch=1&resourceVersion=${metadata.resourceVersion}&fieldSelector=spec.color%3Dred,spec.size!%3D7`;
    const pair = await sides.watch(`${resource.collection()}?${query}`);
    for (const spec of [{ color: 'red' }, { size: 6 }, { size: 7 }, { size: 8 }, { color: null }, { color: 'red' }]) {
      await resource.patch('moving', { spec });
    }
    const [left, right] = [await pair.direct.take(6), await pair.through.take(6)];
    expect(right).toEqual(left);
    expect(right.map(({ type }) => type)).toEqual(['ADDED', 'MODIFIED', 'DELETED', 'ADDED', 'DELETED', 'ADDED']);
  });

  test('watches with any selectors cost one upstream watch', async (context) => {
    context.skip(NEEDS_DOGWATCH !== undefined, NEEDS_DOGWATCH);
    for (const { jsonPath } of selectableFields) {
      const query = `watch=1&resourceVersion=0&fieldSelector=${jsonPath.slice(1)}%3Dx`;
      await sides.watchAt(stage.through, `${resource.collection()}?${query}`);
    }
    const name = `${resource.group}/widgets`;
    // Versions v1 and v2 are two lanes, and some tests above went to v2.
    const open = (): Promise<number> =>
      eventually({ what: 'one watch for each lane', timeoutMs: 10_000 }, async () => {
        const counts = byResource(await stage.plane.metrics(), 'apiserver_longrunning_requests', { verb: 'WATCH' });
        return (counts.get(name) ?? 0) <= 2 * UPSTREAM_READERS && counts.get(name);
      });
    expect(await open()).toBeGreaterThanOrEqual(UPSTREAM_READERS);
  });
});

test('section 1.5: values of other types, from before a change of the schema, are compared as Go prints them', async () => {
  const resource = CustomResource.ofNewGroup(stage.plane.admin);
  await resource.define([{ name: 'v1', fields: { any: PRESERVED } }]);
  for (const [name, any] of Object.entries({
    map: { b: 1 },
    list: [1, 'x', null, true],
    fraction: 1.5,
    million: 1_000_000.5,
    huge: 1e21,
    nothing: null,
    text: 'text',
  })) {
    await resource.create(name, { any });
  }
  await resource.redefine([{ name: 'v1', fields: { any: STRING }, selectableFields: [{ jsonPath: '.spec.any' }] }]);
  await settled(resource);
  for (const value of ['map[]', '[1 x <nil> true]', '1.5', '1.0000005e+06', '1e+21', '', 'text']) {
    const query = new URLSearchParams({ resourceVersion: '0', fieldSelector: `spec.any=${value}` });
    const response = await sides.expectSame(`${resource.collection()}?${query.toString()}`);
    expect([value, named(response).length]).toEqual([value, 1]);
  }
});

/** Both serve what the resource is defined as now: every watch of what it was has ended. */
async function settled(resource: CustomResource): Promise<void> {
  const pair = await sides.watch(`${resource.collection()}?watch=1&resourceVersion=0&timeoutSeconds=3`);
  await Promise.all([pair.direct.rest(), pair.through.rest()]);
}
