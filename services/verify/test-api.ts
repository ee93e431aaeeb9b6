import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A server that answers as kube-apiserver about two resources, or nearly. */
export interface TestApi {
  readonly url: string;
  close(): void;
}

/** Changes the body of an answer to a path with its query. */
export type Fault = (path: string, body: string) => string;

const object = (kind: string, name: string): object => ({
  kind,
  apiVersion: 'v1',
  metadata: { name, namespace: 'default', resourceVersion: '7', labels: { app: 'x' } },
});
const resource = (name: string, kind: string, namespaced: boolean): object => ({
  name,
  kind,
  namespaced,
  verbs: ['get', 'list', 'watch'],
});
const list = (kind: string): object => ({
  kind: `${kind}List`,
  apiVersion: 'v1',
  metadata: { resourceVersion: '9' },
  items: [object(kind, 'one'), object(kind, 'two')],
});

const ANSWERS: Readonly<Record<string, object>> = {
  '/api': { versions: ['v1'] },
  '/apis': { groups: [] },
  '/api/v1': { resources: [resource('namespaces', 'Namespace', false), resource('configmaps', 'ConfigMap', true)] },
  '/api/v1/namespaces': list('Namespace'),
  '/api/v1/configmaps': list('ConfigMap'),
  '/api/v1/namespaces/default/configmaps': list('ConfigMap'),
  '/api/v1/namespaces/default/configmaps/one': object('ConfigMap', 'one'),
};
const NOT_FOUND = { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'NotFound', code: 404 };

/** Listens on a free port of 127.0.0.1. */
export async function startTestApi(fault: Fault = (_, body) => body): Promise<TestApi> {
  const server: Server = createServer((request, response) => {
    const target = request.url ?? '';
    const [path = ''] = target.split('?');
    const answer = ANSWERS[path];
    const watch = /[?&]watch=(true|1)(&|$)/.test(target) && answer !== undefined && 'items' in answer;
    const event = { type: 'ADDED', object: object('ConfigMap', 'one') };
    const body = fault(target, `${JSON.stringify(watch ? event : (answer ?? NOT_FOUND))}\n`);
    response.writeHead(answer === undefined ? 404 : 200, {
      'content-type': 'application/json',
      'audit-id': 'some',
      ...(watch ? {} : { 'content-length': Buffer.byteLength(body) }),
    });
    response.end(request.method === 'HEAD' ? undefined : body);
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
