import { randomUUID } from 'node:crypto';
import { methodNotAllowed } from './simulated-reads.ts';
import type { ResourcePath } from './simulated-request.ts';
import type { SimulatedResource } from './simulated-resources.ts';
import type { Collection } from './simulated-collection.ts';
import { type KubeObject, objectFacts, type ObjectIdentity, objectJson } from './simulated-kube-object.ts';
import { storageKey } from './simulated-object.ts';
import { badRequest, objectStatus } from './simulated-status.ts';
import type { SimulatedStore, WriteOptions } from './simulated-store.ts';

const CREATED = { status: 201 } as const;
const DONE = { status: 200 } as const;

/** A write by plain POST, PUT or DELETE. Returns the status and the body. Throws StatusError. */
export function write(
  store: SimulatedStore,
  collection: Collection,
  target: ResourcePath,
  request: { method: string; body: string; now: string },
): { status: number; body: Buffer } {
  switch (request.method) {
    case 'POST':
      return { ...CREATED, body: create(store, collection, target, request) };
    case 'PUT':
      return { ...DONE, body: update(store, collection, target, request.body) };
    case 'DELETE':
      return { ...DONE, body: remove(store, collection, target) };
    default:
      throw methodNotAllowed();
  }
}

function create(
  store: SimulatedStore,
  collection: Collection,
  target: ResourcePath,
  { body, now }: { body: string; now: string },
): Buffer {
  const object = parseObject(body);
  const name = object.metadata.name ?? '';
  if (name === '') throw badRequest('name or generateName is required');
  const key = storageKey({ namespace: target.namespace, name });
  if (collection.get(key) !== undefined) {
    throw refusal(collection.resource, name, { code: 409, reason: 'AlreadyExists', text: 'already exists' });
  }
  const identity = { uid: randomUUID(), creationTimestamp: now };
  return store
    .put(writeOptions(collection, { object, namespace: target.namespace, name, ...identity }))
    .object.bytes('json');
}

function update(store: SimulatedStore, collection: Collection, target: ResourcePath, body: string): Buffer {
  const held = collection.get(storageKey(target));
  if (held === undefined)
    throw refusal(collection.resource, target.name, { code: 404, reason: 'NotFound', text: 'not found' });
  const object = parseObject(body);
  const { resourceVersion } = object.metadata;
  if (resourceVersion !== undefined && resourceVersion !== String(held.resourceVersion)) {
    const text = `Operation cannot be fulfilled on ${qualified(collection.resource)} "${target.name}": the object has been modified; please apply your changes to the latest version and try again`;
    throw objectStatus(409, 'Conflict', { message: text, name: target.name, ...collection.resource });
  }
  const bytes = held.bytes('json');
  const { metadata } = JSON.parse(bytes.toString('utf8')) as KubeObject;
  const options = writeOptions(collection, {
    object,
    namespace: target.namespace,
    name: target.name,
    uid: held.uid,
    creationTimestamp: metadata.creationTimestamp ?? '',
  });
  // Upstream writes nothing, and uses no version, where nothing changed.
  if (options.render(held.resourceVersion) === bytes.toString('utf8')) return bytes;
  return store.put(options).object.bytes('json');
}

function remove(store: SimulatedStore, collection: Collection, target: ResourcePath): Buffer {
  const event = store.delete(collection, storageKey(target));
  if (event === undefined)
    throw refusal(collection.resource, target.name, { code: 404, reason: 'NotFound', text: 'not found' });
  const { group, resource } = collection.resource;
  const details = { name: target.name, ...(group === '' ? {} : { group }), kind: resource, uid: event.object.uid };
  return Buffer.from(JSON.stringify({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details }));
}

function refusal(resource: SimulatedResource, name: string, of: { code: number; reason: string; text: string }): Error {
  const message = `${qualified(resource)} "${name}" ${of.text}`;
  return objectStatus(of.code, of.reason, { message, name, ...resource });
}

function qualified({ group, resource }: SimulatedResource): string {
  return group === '' ? resource : `${resource}.${group}`;
}

function parseObject(body: string): KubeObject {
  try {
    const object = JSON.parse(body) as KubeObject;
    if (typeof object.metadata !== 'object') throw new TypeError('metadata is missing');
    return object;
  } catch (error) {
    throw badRequest(`the object provided is unrecognized: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Everything the store needs of an object. */
export function writeOptions(collection: Collection, of: ObjectIdentity): WriteOptions {
  const { resource } = collection;
  const render = (resourceVersion: number) => objectJson(resource, of, String(resourceVersion));
  return { collection, object: objectFacts(resource, of), render };
}
