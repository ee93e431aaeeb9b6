import type { Answer } from './answer.ts';
import type { Population, SampledObject, SampledResource } from './population.ts';
import type { VerifyRequest, World } from './request.ts';
import type { ServedResource } from './resources.ts';

/** A resource of a made-up cluster. */
export function servedResource(resource: string, changes: Partial<ServedResource> = {}): ServedResource {
  return {
    group: '',
    version: 'v1',
    resource,
    kind: resource,
    namespaced: true,
    verbs: ['get', 'list', 'watch'],
    custom: false,
    subresources: [],
    fields: new Map([['metadata.name', ['metadata', 'name']]]),
    ...changes,
  };
}

function sampled(resource: ServedResource): SampledResource {
  const objects = ['one', 'two'].map((name, i): SampledObject => ({
    namespace: resource.namespaced ? 'default' : '',
    name,
    resourceVersion: String(10 + i),
    labels: [['app', 'x']],
    fields: [['metadata.name', name]],
  }));
  return { resource, objects, bytes: 100 };
}

/** A made-up cluster as requests are made from. */
export function testWorld(changes: Partial<World> = {}): World {
  const populated = [
    sampled(servedResource('configmaps')),
    sampled(servedResource('nodes', { namespaced: false, subresources: ['status'] })),
    sampled(servedResource('widgets', { group: 'example.com', custom: true })),
  ];
  const population: Population = {
    watchable: populated,
    populated,
    selectable: populated,
    large: populated,
    others: [servedResource('bindings', { verbs: ['create'] })],
    namespaces: ['default'],
  };
  return { population, version: 100, users: ['half'], write: false, ...changes };
}

export function testRequest(path: string, changes: Partial<VerifyRequest> = {}): VerifyRequest {
  return {
    index: 7,
    method: 'GET',
    path,
    headers: {},
    body: undefined,
    asker: { kind: 'self' },
    protocol: 'h1',
    firstPage: undefined,
    stream: false,
    live: false,
    ...changes,
  };
}

export function testAnswer(body: string | Buffer, changes: Partial<Answer> = {}): Answer {
  return {
    status: 200,
    headers: { 'content-type': 'application/json', 'audit-id': 'x' },
    body: Buffer.from(body),
    frames: undefined,
    end: 'ended',
    problem: undefined,
    ...changes,
  };
}
