import assert from 'node:assert/strict';
import { createFrameScanner } from '@dogwatch/kube/frame-scanner.ts';
import { objectFromListItem } from '@dogwatch/kube/list-framer.ts';
import { createListScanner } from '@dogwatch/kube/list-scanner.ts';
import { scanObject } from '@dogwatch/kube/object-scanner.ts';
import { decodeStatusProtobuf } from '@dogwatch/kube/status-protobuf.ts';
import { parseWatchFrame } from '@dogwatch/kube/watch-event.ts';
import { getBytes } from './case-bytes.ts';
import { encodeProtobuf, type MessageSchema } from './simulated-protobuf.ts';
import { CONFIG_MAP, LEASE, POD } from './simulated-protobuf-schemas.ts';
import { type CaseContext, FUTURE_VERSION, type UpstreamCase } from './upstream-case.ts';

const PROTOBUF = 'application/vnd.kubernetes.protobuf';
const ITEM_BYTES_MAX = 1024 * 1024;

type Json = Record<string, unknown>;

const read = ({ endpoint, adminToken }: CaseContext, path: string) =>
  getBytes(endpoint, { token: adminToken, path, accept: PROTOBUF });

/** The objects of a LIST as watch events would carry them. */
function listed(body: Buffer, kind: string): { version: string; objects: Buffer[] } {
  const objects: Buffer[] = [];
  const scanner = createListScanner('protobuf', ITEM_BYTES_MAX);
  scanner.push(body, (item) => objects.push(objectFromListItem('protobuf', kind, 'v1', Buffer.from(item))));
  return { version: scanner.end().resourceVersion, objects };
}

function events(body: Buffer): { type: string; object: Buffer }[] {
  const found: { type: string; object: Buffer }[] = [];
  const scanner = createFrameScanner('protobuf');
  scanner.push(body, (frame) => found.push(parseWatchFrame('protobuf', Buffer.from(frame))));
  assert.equal(scanner.pendingBytes, 0);
  return found;
}

function assertSameObject(schema: MessageSchema, json: Json, protobuf: Buffer | undefined): void {
  assert.equal(protobuf?.toString('latin1'), encodeProtobuf(schema, json).toString('latin1'));
}

/** The same objects in protobuf (protocol F2, L19, N1): byte for byte what their JSON says. */
export const PROTOBUF_CASES: readonly UpstreamCase[] = [
  {
    name: 'N1: a LIST in protobuf has the objects of the JSON LIST, byte for byte as they are encoded upstream',
    run: async (context) => {
      const { admin, configMaps, create, update } = context;
      for (const name of ['b', 'a']) await create(name, { color: 'red' });
      await update('b', '1');
      const answer = await read(context, configMaps);
      assert.deepEqual([answer.status, answer.contentType], [200, PROTOBUF]);
      const { version, objects } = listed(answer.body, 'ConfigMap');
      const exact = `${configMaps}?resourceVersion=${version}&resourceVersionMatch=Exact`;
      const json = await admin.get<{ items: Json[] }>(exact);
      assert.equal(objects.length, 2);
      for (const [index, item] of json.items.entries())
        assertSameObject(CONFIG_MAP, { kind: 'ConfigMap', apiVersion: 'v1', ...item }, objects[index]);
    },
  },
  {
    name: 'F2: a watch-list in protobuf is length-prefixed frames, the objects in key order and the annotated bookmark',
    run: async (context) => {
      const { admin, configMaps, create } = context;
      for (const name of ['b', 'a']) await create(name);
      const answer = await read(
        context,
        `${configMaps}?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1`,
      );
      assert.deepEqual([answer.status, answer.contentType], [200, `${PROTOBUF};stream=watch`]);
      const [first, second, end] = events(answer.body);
      assert.deepEqual([first?.type, second?.type, end?.type], ['ADDED', 'ADDED', 'BOOKMARK']);
      for (const [index, event] of [first, second].entries())
        assertSameObject(CONFIG_MAP, await admin.get<Json>(`${configMaps}/${index === 0 ? 'a' : 'b'}`), event?.object);
      assert(end !== undefined && scanObject('protobuf', end.object).initialEventsEnd);
    },
  },
  {
    name: 'W15: in protobuf too, what leaves a selector is the previous object at the version of the event',
    run: async (context) => {
      const { admin, configMaps, create, update } = context;
      const { metadata } = await create('a', { color: 'red' });
      const before = await admin.get<Json>(`${configMaps}/a`);
      const left = await update('a', 'out', { color: 'blue' });
      const query = `watch=1&labelSelector=color%3Dred&resourceVersion=${metadata.resourceVersion}&timeoutSeconds=1`;
      const [gone] = events((await read(context, `${configMaps}?${query}`)).body);
      assert.equal(gone?.type, 'DELETED');
      const at = { ...(before['metadata'] as Json), resourceVersion: String(left) };
      assertSameObject(CONFIG_MAP, { ...before, metadata: at }, gone.object);
    },
  },
  {
    name: 'leases and pods in protobuf are what their JSON says',
    run: async (context) => {
      const { admin, namespace } = context;
      const leases = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
      const pods = `/api/v1/namespaces/${namespace}/pods`;
      await admin.create(leases, {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name: 'a', namespace },
        spec: { holderIdentity: 'a', leaseDurationSeconds: 40, renewTime: '2026-01-01T00:00:00.123456Z' },
      });
      await admin.create(pods, {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'a', namespace, labels: { app: 'web' } },
        spec: {
          nodeName: 'nowhere',
          automountServiceAccountToken: false,
          containers: [{ name: 'c', image: 'i', resources: { requests: { cpu: '100m' } } }],
        },
      });
      for (const [path, schema] of [
        [`${leases}/a`, LEASE],
        [`${pods}/a`, POD],
      ] as const) {
        const { status, body } = await read(context, path);
        assert.equal(status, 200);
        assertSameObject(schema, await admin.get<Json>(path), body);
      }
    },
  },
  {
    name: 'G14, W8: refusals in protobuf, as an answer and in a stream',
    run: async (context) => {
      const { configMaps } = context;
      const missing = await read(context, `${configMaps}/nothing`);
      assert.deepEqual([missing.status, missing.contentType], [404, PROTOBUF]);
      assert.equal(decodeStatusProtobuf(missing.body).message, 'configmaps "nothing" not found');
      const query = `watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=${FUTURE_VERSION}`;
      const stream = await read(context, `${configMaps}?${query}`);
      assert.equal(stream.status, 200);
      const [error, ...more] = events(stream.body);
      assert.deepEqual([error?.type, more.length], ['ERROR', 0]);
      assert(error !== undefined);
      assert.equal(decodeStatusProtobuf(error.object).code, 504);
    },
  },
];
