import { createServer, type RequestListener } from 'node:http';
import { json } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { requestJson } from './request-json.ts';
import { accessTo, Fixture } from './upstream-fixture.ts';

let fixture: Fixture;
const { signal } = new AbortController();

beforeEach(() => {
  fixture = new Fixture();
});

afterEach(() => fixture.close());

async function upstreamOf(handler: RequestListener) {
  const port = await fixture.listen(createServer(handler));
  return fixture.upstream(accessTo({ port, access: { server: new URL(`http://127.0.0.1:${port}`) } }));
}

describe('requestJson', () => {
  test('sends and receives JSON, whatever the status', async () => {
    const upstream = await upstreamOf((request, response) => {
      void json(request).then((body) => {
        response.writeHead(409, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ body, type: request.headers['content-type'], accept: request.headers.accept }));
      });
    });
    const answer = await requestJson(upstream, { method: 'POST', path: '/x', body: { a: 1 }, signal });
    expect(answer.status).toBe(409);
    expect(answer.body).toEqual({ body: { a: 1 }, type: 'application/json', accept: 'application/json' });
  });

  test('gives other content as text', async () => {
    const upstream = await upstreamOf((_request, response) => {
      response.writeHead(429, { 'content-type': 'text/plain' }).end('Too many requests, please try again later.');
    });
    const answer = await requestJson(upstream, { path: '/x', signal });
    expect(answer).toMatchObject({ status: 429, body: 'Too many requests, please try again later.' });
  });

  test('broken JSON is an error that does not quote it', async () => {
    const upstream = await upstreamOf((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"data": c4nary');
    });
    const error: unknown = await requestJson(upstream, { path: '/api/v1/secrets?x=1', signal }).catch(
      (cause: unknown) => cause,
    );
    expect(error).toMatchObject({ name: 'JsonResponseError', code: 'invalid_json' });
    expect(String(error)).not.toContain('c4nary');
  });

  test('stops at 8 MiB and ends the request', async () => {
    let closed: Promise<void> | undefined;
    const upstream = await upstreamOf((_request, response) => {
      closed = new Promise((resolve) => response.once('close', resolve));
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(256 * 1024)));
      };
      response.on('drain', more);
      more();
    });
    await expect(requestJson(upstream, { path: '/x', signal })).rejects.toMatchObject({ code: 'too_large' });
    await closed;
  });

  test.each(['head', 'body'])('times out waiting for the %s', async (part) => {
    const upstream = await upstreamOf((_request, response) => {
      if (part === 'body') response.write('{');
    });
    await expect(requestJson(upstream, { path: '/x?token=c4nary', signal, timeoutMs: 30 })).rejects.toMatchObject({
      code: 'timeout',
      message: 'GET /x: kube-apiserver did not answer within 30 ms',
    });
  });

  test('follows the signal', async () => {
    const controller = new AbortController();
    const upstream = await upstreamOf(() => controller.abort(new Error('enough')));
    await expect(requestJson(upstream, { path: '/x', signal: controller.signal })).rejects.toThrow('enough');
  });
});
