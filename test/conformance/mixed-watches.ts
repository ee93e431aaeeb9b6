import type { RandomWriter } from '../support/random-writer.ts';
import type { WatchRequest } from '../support/watch-recorder.ts';

/** The quiet resources that share the stage with the written ones. */
const QUIET = [
  '/api/v1/pods',
  '/api/v1/services',
  '/api/v1/serviceaccounts',
  '/api/v1/endpoints',
  '/api/v1/nodes',
  '/api/v1/persistentvolumeclaims',
  '/apis/apps/v1/replicasets',
  '/apis/discovery.k8s.io/v1/endpointslices',
];

export const NAMESPACES = ['one', 'two', 'three'];
export const COLOURS = ['red', 'green', 'blue'];

/** The interests of one written resource: everything, each namespace, each colour, each colour in each namespace. */
function interests(writer: RandomWriter): WatchRequest[] {
  return [
    { path: writer.path },
    ...COLOURS.map((colour) => ({ path: writer.path, labels: { colour } })),
    ...NAMESPACES.flatMap((namespace) => [
      { path: writer.pathIn(namespace), namespace },
      ...COLOURS.map((colour) => ({ path: writer.pathIn(namespace), namespace, labels: { colour } })),
    ]),
  ];
}

/** `count` watches with initial events: a fifth on quiet resources, the rest on the written ones, in all their interests. */
export function mixedWatches(writers: readonly RandomWriter[], count: number): WatchRequest[] {
  const wanted = writers.flatMap(interests);
  return Array.from({ length: count }, (_, index) => {
    const quiet = QUIET[(index / 5) % QUIET.length];
    const request = index % 5 === 0 && quiet !== undefined ? { path: quiet } : wanted[index % wanted.length];
    if (request === undefined) throw new Error('no writers');
    return request;
  });
}

/** Lanes that `mixedWatches` opens. */
export function laneCount(writers: readonly RandomWriter[]): number {
  return QUIET.length + writers.length;
}
