// How dogwatch follows what defines custom resources (protocol row W19): each case is done at kube-apiserver itself in
// the same moment, and must come out the same.
import { summary } from '@dogwatch/bench/case-watch.ts';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { CustomResource } from './custom-resource.ts';
import { Sides, named } from './sides.ts';
import { NEEDS_DOGWATCH, type Stage } from './stage.ts';

const WATCH_LIST = 'watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan';
const STRING = { type: 'string' };
const INTEGER = { type: 'integer' };

let stage: Stage;
let sides: Sides;

beforeAll(async () => {
  sides = await Sides.start();
  ({ stage } = sides);
});

afterEach(() => sides?.closeWatches());

afterAll(() => sides?.stop());

describe('W19: a definition that changes', () => {
  const V1 = { name: 'v1', fields: { color: STRING, size: INTEGER } };

  /** Changes a definition under two watches of each side, which must end cleanly; gives the version they had got to. */
  async function change(resource: CustomResource, how: () => Promise<unknown>): Promise<string> {
    const { metadata } = await resource.create('last', { color: 'blue', size: 1 });
    const paths = [`${WATCH_LIST}`, `watch=1&resourceVersion=${metadata.resourceVersion}&labelSelector=a%3Db`];
    const pairs = await Promise.all(paths.map((query) => sides.watch(`${resource.collection()}?${query}`)));
    await how();
    for (const pair of pairs) await sides.expectSameEnd(pair);
    return metadata.resourceVersion;
  }

  test('ends watches cleanly; versions from before are too old; what is read is as the schema is now', async () => {
    const resource = CustomResource.ofNewGroup(stage.plane.admin);
    await resource.define([V1]);
    await resource.create('first', { color: 'red', size: 2 });
    const shape = { type: 'string', default: 'round' };
    const old = await change(resource, () =>
      // One field more, by default there, and one that is pruned.
      resource.redefine([
        { name: 'v1', fields: { color: STRING, shape }, selectableFields: [{ jsonPath: '.spec.shape' }] },
      ]),
    );
    for (const query of [
      'resourceVersion=0',
      'resourceVersion=',
      'limit=1',
      'resourceVersion=0&fieldSelector=spec.shape%3Dround',
    ]) {
      const { body } = await sides.expectSame(`${resource.collection()}?${query}`);
      expect(body).toContain('"spec":{"color":"red","shape":"round"}');
    }
    await sides.expectSame(`${resource.collection()}/first?resourceVersion=0`);
    await sides.expectSame(`${resource.collection()}?resourceVersion=0`, {
      headers: { accept: 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io' },
    });
    for (const query of [`watch=1&resourceVersion=${old}`, `watch=1&resourceVersion=${old}&labelSelector=a%3Db`]) {
      const pair = await sides.watch(`${resource.collection()}?${query}`);
      for (const watch of [pair.direct, pair.through]) {
        const [event, ...more] = await watch.rest();
        expect([watch.status, event?.type, event?.object.code, event?.object.reason, more.length]).toEqual([
          200,
          'ERROR',
          410,
          'Expired',
          0,
        ]);
      }
    }
    const pair = await sides.watch(`${resource.collection()}?${WATCH_LIST}`);
    const [left, right] = [await pair.direct.take(2), await pair.through.take(2)];
    expect(right).toEqual(left);
    await resource.patch('first', { spec: { color: 'green' } });
    expect(await pair.through.take(1)).toEqual(await pair.direct.take(1));
  });

  test('is heard of before upstream has ended its watches', async (context) => {
    context.skip(NEEDS_DOGWATCH !== undefined, NEEDS_DOGWATCH);
    const resource = CustomResource.ofNewGroup(stage.plane.admin);
    await resource.define([V1]);
    const pair = await sides.watch(`${resource.collection()}?${WATCH_LIST}`);
    await pair.through.next();
    await resource.redefine([{ name: 'v1', fields: { color: STRING } }]);
    await pair.through.rest();
    expect(pair.direct.ended).toBe(false);
  });

  test('in its status or its labels alone ends nothing', async () => {
    const resource = CustomResource.ofNewGroup(stage.plane.admin);
    await resource.define([V1]);
    const pair = await sides.watch(`${resource.collection()}?watch=1&resourceVersion=0`);
    await sides.direct.mergePatch(resource.path, { metadata: { labels: { changed: 'yes' } } });
    const condition = {
      type: 'Of',
      status: 'True',
      reason: 'Test',
      message: 'a test',
      lastTransitionTime: '2026-01-01T00:00:00Z',
    };
    const { status } = await sides.direct.get<{ status: { conditions: unknown[] } }>(resource.path);
    await sides.direct.mergePatch(`${resource.path}/status`, {
      status: { conditions: [...status.conditions, condition] },
    });
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    await resource.create('later', {});
    expect(await pair.through.take(1)).toEqual(await pair.direct.take(1));
    expect([pair.direct.ended, pair.through.ended]).toEqual([false, false]);
  });

  test('in its names', async () => {
    const resource = CustomResource.ofNewGroup(stage.plane.admin);
    await resource.define([V1]);
    await change(resource, () => resource.redefine([V1], { names: { listKind: 'Widgets', shortNames: ['wd'] } }));
    const { body } = await sides.expectSame(`${resource.collection()}?resourceVersion=0`);
    expect(body).toContain('"kind":"Widgets"');
  });

  test('in its columns: tables are as they are printed now', async () => {
    const resource = CustomResource.ofNewGroup(stage.plane.admin);
    await resource.define([V1]);
    const additionalPrinterColumns = [{ name: 'Color', type: 'string', jsonPath: '.spec.color' }];
    await change(resource, () => resource.redefine([{ ...V1, additionalPrinterColumns }]));
    const headers = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' };
    const { body } = await sides.expectSame(`${resource.collection()}?resourceVersion=0`, { headers });
    expect(body).toContain('Color');
  });

  test('H4: in its warnings', async () => {
    const resource = CustomResource.ofNewGroup(stage.plane.admin);
    await resource.define([V1]);
    await change(resource, () =>
      resource.redefine([{ ...V1, deprecated: true, deprecationWarning: 'widgets are old' }]),
    );
    const { headers } = await sides.expectSame(`${resource.collection()}?resourceVersion=0`);
    expect(headers['warning']).toBe('299 - "widgets are old"');
    const pair = await sides.watch(`${resource.collection()}?${WATCH_LIST}`);
    expect(pair.through.headers['warning']).toBe(pair.direct.headers['warning']);
    expect(pair.through.headers['warning']).toBe('299 - "widgets are old"');
  });

  test('by a version more, by one less, and in the version that is stored', async () => {
    const resource = CustomResource.ofNewGroup(stage.plane.admin);
    await resource.define([V1]);
    const v2 = { name: 'v2', fields: V1.fields, storage: false };
    await sides.expectSame(resource.collection({ version: 'v2' }), { status: 404 });
    await change(resource, () => resource.redefine([V1, v2]));
    const { body } = await sides.expectSame(`${resource.collection({ version: 'v2' })}?resourceVersion=0`);
    expect(body).toContain(`"apiVersion":"${resource.group}/v2"`);

    const second = await sides.watch(`${resource.collection({ version: 'v2' })}?${WATCH_LIST}`);
    await resource.redefine([
      { ...V1, storage: false },
      { ...v2, storage: true },
    ]);
    await sides.expectSameEnd(second);
    await resource.create('stored', { color: 'new' }, { version: 'v2' });
    for (const version of ['v1', 'v2']) await sides.expectSame(resource.collection({ version }));

    const third = await sides.watch(`${resource.collection()}?${WATCH_LIST}`);
    await resource.redefine([
      { ...V1, storage: false, served: false },
      { ...v2, storage: true },
    ]);
    await sides.expectSameEnd(third);
    for (const query of ['resourceVersion=0', WATCH_LIST]) {
      await sides.expectSame(`${resource.collection()}?${query}`, { status: 404 });
    }
    await sides.expectSame(`${resource.collection({ version: 'v2' })}?resourceVersion=0`);
  });
});

describe('a definition whose versions cannot be converted', () => {
  test('G11: is served in the version that is stored; the other is (re)initializing', async () => {
    const resource = CustomResource.ofNewGroup(stage.plane.admin);
    const v1 = { name: 'v1', fields: { color: STRING } };
    const v2 = { name: 'v2', fields: { color: STRING, size: INTEGER }, storage: false };
    const clientConfig = { url: 'https://127.0.0.1:1/convert' };
    const conversion = { strategy: 'Webhook', webhook: { clientConfig, conversionReviewVersions: ['v1'] } };
    await resource.define([v1, v2]);
    await resource.create('a', { color: 'red' });
    const pair = await sides.watch(`${resource.collection({ version: 'v2' })}?${WATCH_LIST}`);
    await resource.redefine([v1, v2], { conversion });
    await sides.expectSameEnd(pair);
    await sides.expectSame(`${resource.collection()}?resourceVersion=0`);
    for (const query of ['resourceVersion=0', WATCH_LIST]) {
      const path = `${resource.collection({ version: 'v2' })}?${query}`;
      for (const side of [sides.direct, sides.through]) {
        const { status, headers, body } = await side.request('GET', path);
        expect([status, headers['retry-after']]).toEqual([429, '1']);
        // kube-apiserver adds why.
        const message = expect.stringMatching(/^storage is \(re\)initializing/) as string;
        expect(JSON.parse(body)).toMatchObject({ kind: 'Status', reason: 'TooManyRequests', message });
      }
    }
    // Now nothing has to be converted by others.
    await resource.redefine([v1, v2], { conversion: { strategy: 'None', webhook: null } });
    const { body } = await sides.expectSame(resource.collection({ version: 'v2' }));
    expect(body).toContain('red');
  });
});

describe('W19: a definition that is deleted', () => {
  const V1 = { name: 'v1', fields: { color: STRING } };

  test('every watch gets every delete, and ends cleanly; then it is a 404', async () => {
    const resource = CustomResource.ofNewGroup(stage.plane.admin);
    await resource.define([V1]);
    const total = 400;
    for (let at = 0; at < total; at += 20) {
      await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          resource.create(`w-${at + i}`, { color: i % 2 === 0 ? 'red' : 'blue' }, { labels: { odd: String(i % 2) } }),
        ),
      );
    }
    const all = resource.collection({ namespace: '' });
    const paths = [
      `${all}?${WATCH_LIST}`,
      `${resource.collection()}?${WATCH_LIST}`,
      `${all}?${WATCH_LIST}&labelSelector=odd%3D1`,
      `${all}?${WATCH_LIST}&fieldSelector=metadata.name%3Dw-7`,
    ];
    const pairs = await Promise.all(paths.map((path) => sides.watch(path)));
    await resource.remove();
    for (const [index, expected] of [total, total, total / 2, 1].entries()) {
      const events = await sides.expectSameEnd(pairs[index]!);
      expect(events.filter(({ type }) => type === 'ADDED')).toHaveLength(expected);
      expect(events.filter(({ type }) => type === 'DELETED')).toHaveLength(expected);
    }
    for (const path of [
      `${all}?resourceVersion=0`,
      all,
      `${all}?${WATCH_LIST}`,
      `${resource.collection()}/w-1?resourceVersion=0`,
    ]) {
      await sides.expectSame(path, { status: 404 });
    }
  });

  test('is a 404 as soon as a proof of freshness meets one, before upstream has ended its watches', async () => {
    const resource = CustomResource.ofNewGroup(stage.plane.admin);
    await resource.define([V1]);
    await resource.create('a', { color: 'red' });
    const pair = await sides.watch(`${resource.collection()}?${WATCH_LIST}`);
    await resource.remove();
    await eventually({ what: 'upstream has dropped it', timeoutMs: 5_000, everyMs: 5 }, async () => {
      return (await sides.direct.request('GET', resource.collection())).status === 404;
    });
    for (const path of ['', '?resourceVersion=0', '/a?resourceVersion=0', `?${WATCH_LIST}`]) {
      await sides.expectSame(`${resource.collection()}${path}`, { status: 404 });
    }
    expect([pair.direct.ended, pair.through.ended]).toEqual([false, false]);
    await sides.expectSameEnd(pair);
  });

  test('and made again is a new resource, of another scope too', async () => {
    const resource = CustomResource.ofNewGroup(stage.plane.admin);
    await resource.define([V1]);
    await resource.create('same', { color: 'red' });
    const pair = await sides.watch(`${resource.collection()}?${WATCH_LIST}`);
    await resource.remove();
    await sides.expectSameEnd(pair);

    await resource.define([V1]);
    await resource.create('same', { color: 'blue' });
    const { body } = await sides.expectSame(`${resource.collection()}?resourceVersion=0`);
    expect(body).toContain('blue');
    const again = await sides.watch(`${resource.collection()}?${WATCH_LIST}`);
    expect(await again.through.take(1)).toEqual(await again.direct.take(1));
    const namespaced = resource.collection();
    await resource.remove();
    await sides.expectSameEnd(again);

    await resource.define([V1], { scope: 'Cluster' });
    await resource.create('same', { color: 'green' });
    await sides.expectSame(`${resource.collection()}?resourceVersion=0`);
    await sides.expectSame(`${resource.collection()}/same?resourceVersion=0`);
    for (const query of ['resourceVersion=0', '', WATCH_LIST])
      await sides.expectSame(`${namespaced}?${query}`, { status: 404 });
    await sides.expectSame(`${resource.collection()}?resourceVersion=0&fieldSelector=metadata.namespace%3D`, {
      status: 400,
    });
    const cluster = await sides.watch(`${resource.collection()}?${WATCH_LIST}`);
    expect(summary(await cluster.through.take(1))).toEqual(summary(await cluster.direct.take(1)));
    await resource.remove();
    await sides.expectSameEnd(cluster);

    await resource.define([V1]);
    await resource.create('same', { color: 'grey' });
    await sides.expectSame(`${resource.collection()}?resourceVersion=0`);
    await sides.expectSame(`${resource.collection({ namespace: '' })}?resourceVersion=0`);
  });
});

describe('where dogwatch may not read definitions', () => {
  const role = '/apis/rbac.authorization.k8s.io/v1/clusterroles/dogwatch';
  const readable = ['', 'apps', 'apiregistration.k8s.io', 'coordination.k8s.io'];
  const denied = { user: 'dogwatch', resourceAttributes: { group: 'apiextensions.k8s.io', verb: 'list' } };
  let rules: readonly { apiGroups: string[] }[];

  beforeAll(async () => {
    ({ rules } = await sides.direct.get<{ rules: readonly { apiGroups: string[] }[] }>(role));
  });

  afterAll(async () => {
    await sides?.direct.mergePatch(role, { rules });
  });

  test('W19: custom resources are served all the same, and followed by the ends of their watches', async () => {
    const resource = CustomResource.ofNewGroup(stage.plane.admin);
    const narrowed = rules.map((rule) =>
      rule.apiGroups?.includes('*') === true ? { ...rule, apiGroups: [...readable, resource.group] } : rule,
    );
    await sides.direct.mergePatch(role, { rules: narrowed });
    await eventually({ what: 'the right is gone', timeoutMs: 15_000 }, async () => {
      const review = { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec: denied };
      const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
      return !(await sides.direct.create<{ status: { allowed: boolean } }>(path, review)).status.allowed;
    });

    const v1 = { name: 'v1', fields: { color: STRING }, selectableFields: [{ jsonPath: '.spec.color' }] };
    await resource.define([v1]);
    await resource.create('a', { color: 'red' });
    await resource.create('b', { color: 'blue' });
    await sides.expectSame(`${resource.collection()}?resourceVersion=0`);
    const selected = await sides.expectSame(`${resource.collection()}?fieldSelector=spec.color%3Dred`);
    expect(named(selected)).toEqual(['a']);

    const first = await sides.watch(`${resource.collection()}?${WATCH_LIST}`);
    await resource.redefine([{ ...v1, fields: { ...v1.fields, shape: { type: 'string', default: 'round' } } }]);
    await sides.expectSameEnd(first);
    const { body } = await sides.expectSame(`${resource.collection()}?resourceVersion=0`);
    expect(body).toContain('round');

    const second = await sides.watch(`${resource.collection()}?${WATCH_LIST}`);
    await resource.remove();
    const events = await sides.expectSameEnd(second);
    expect(summary(events)).toEqual(['ADDED a', 'ADDED b', 'DELETED a', 'DELETED b']);
    await sides.expectSame(`${resource.collection()}?resourceVersion=0`, { status: 404 });
  });
});
