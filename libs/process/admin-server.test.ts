import { request } from 'node:http';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type AdminServer, createAdminServer } from './admin-server.ts';
import type { Check } from './health.ts';
import { createLogger } from './log.ts';
import { createMetrics } from './metrics.ts';
import { version } from './version.ts';

const lines: string[] = [];
const log = createLogger({ level: 'info', pretty: false, destination: { write: (line) => lines.push(line) } });
const checks: Check[] = [];
const stop: (() => Promise<void>)[] = [];
let metrics = createMetrics();
let base = '';

function create(
  port = 0,
  address = '127.0.0.1',
): { server: AdminServer; done: Promise<void>; controller: AbortController } {
  const server = createAdminServer({ address, port, checks, metrics, log });
  const controller = new AbortController();
  const done = server.run(controller.signal);
  done.catch(() => undefined);
  stop.push(async () => {
    controller.abort();
    await done.catch(() => undefined);
  });
  return { server, done, controller };
}

const get = async (path: string, method = 'GET') => {
  const response = await fetch(`${base}${path}`, { method });
  return { status: response.status, text: await response.text(), headers: response.headers };
};

beforeEach(async () => {
  metrics = createMetrics();
  checks.length = 0;
  lines.length = 0;
  base = `http://127.0.0.1:${(await create().server.listening).port}`;
});

afterEach(async () => {
  vi.unstubAllGlobals();
  for (const end of stop.splice(0)) await end();
});

describe('health', () => {
  test('livez and its alias do not depend on the checks', async () => {
    checks.push({ name: 'upstream', check: () => 'down' });
    for (const path of ['/livez', '/healthz']) expect(await get(path)).toMatchObject({ status: 200, text: 'ok' });
    expect((await get('/livez?verbose')).text).toBe('[+]ping ok\nlivez check passed\n');
  });

  test('readyz follows the checks, also those added later', async () => {
    expect(await get('/readyz')).toMatchObject({ status: 200, text: 'ok' });
    let reason: string | undefined = 'starting';
    checks.push({ name: 'lanes', check: () => reason });
    expect(await get('/readyz')).toMatchObject({
      status: 500,
      text: '[+]ping ok\n[-]lanes failed: starting\nreadyz check failed\n',
    });
    expect(await get('/readyz?exclude=lanes')).toMatchObject({ status: 200, text: 'ok' });
    expect(await get('/readyz/lanes')).toMatchObject({ status: 500, text: 'internal server error: starting\n' });
    reason = undefined;
    expect((await get('/readyz?verbose')).text).toBe('[+]ping ok\n[+]lanes ok\nreadyz check passed\n');
    expect((await get('/readyz/lanes')).text).toBe('ok');
  });

  test('a check that throws is a 500 and a line in the log, not the end of the process', async () => {
    checks.push({
      name: 'lanes',
      check: () => {
        throw new Error('bug');
      },
    });
    expect((await get('/readyz')).status).toBe(500);
    expect(lines.at(-1)).toContain('admin request failed');
  });
});

test('metrics come in the Prometheus text format', async () => {
  metrics.counter({ name: 'things_total', help: 'h' }).labels({}).value = 3;
  const { text, headers } = await get('/metrics');
  expect(text).toContain('\ndogwatch_things_total 3\n');
  expect(headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
});

test('version says what runs', async () => {
  expect(JSON.parse((await get('/version')).text)).toMatchObject({ version, nodeVersion: process.version });
});

describe('memory', () => {
  test('is shown after a collection when the process may collect', async () => {
    const gc = vi.fn<() => void>();
    vi.stubGlobal('gc', gc);
    const memory = JSON.parse((await get('/debug/memory')).text) as Record<string, number>;
    expect(Object.keys(memory)).toEqual(['rss', 'heapUsed', 'external', 'arrayBuffers']);
    expect(memory['rss']).toBeGreaterThan(memory['heapUsed'] ?? 0);
    expect(gc).toHaveBeenCalledTimes(2);
  });

  test('does not exist otherwise', async () => {
    vi.stubGlobal('gc', undefined);
    expect((await get('/debug/memory')).status).toBe(404);
  });
});

test.each(['/', '/livez/nothing', '/readyz/a/b', '/metrics/x', '/debug/pprof', '/api', '//'])(
  '%s is not found',
  async (path) => {
    expect(await get(path)).toMatchObject({ status: 404, text: '404 page not found\n' });
  },
);

test('a request target that is no URL is not found', async () => {
  const status = await new Promise((resolve, reject) => {
    const sent = request(`${base}/`, { path: '//[' }, (response) => resolve(response.resume().statusCode));
    sent.on('error', reject).end();
  });
  expect(status).toBe(404);
});

test('it only reads: HEAD is answered, other methods are not', async () => {
  expect(await get('/readyz', 'HEAD')).toMatchObject({ status: 200, text: '' });
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    const { status, headers } = await get('/livez', method);
    expect([status, headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  }
});

describe('life', () => {
  test('a port in use is one clear line, for run and for listening alike', async () => {
    const port = Number(new URL(base).port);
    const { server, done } = create(port);
    await expect(done).rejects.toMatchObject({
      code: 'AdminPortInUse',
      message: `admin port 127.0.0.1:${port} is in use; stop what listens there or choose another with --admin-port`,
    });
    await expect(server.listening).rejects.toBe(await done.catch((error: unknown) => error));
  });

  test('an address that is not ours is another', async () => {
    const { done } = create(0, '192.0.2.1');
    await expect(done).rejects.toMatchObject({
      code: 'AdminAddressUnusable',
      message: /192\.0\.2\.1:0 \(EADDRNOTAVAIL\)/,
    });
  });

  test('run ends on abort although a client keeps its connection', async () => {
    const { server, done, controller } = create();
    const { port } = await server.listening;
    await (await fetch(`http://127.0.0.1:${port}/livez`)).text();
    controller.abort();
    await done;
    await expect(fetch(`http://127.0.0.1:${port}/livez`)).rejects.toThrow('fetch failed');
  });
});
