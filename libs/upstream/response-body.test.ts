import { PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { responseBody } from './response-body.ts';

interface Setup {
  readonly complete?: boolean;
  readonly encoding?: string;
  readonly signal?: AbortSignal;
}

function setup({ complete = true, encoding, signal = new AbortController().signal }: Setup = {}) {
  const source = new PassThrough();
  let cancelled = 0;
  const body = responseBody({
    source,
    encoding,
    signal,
    host: 'h:1',
    complete: () => complete,
    cancel: () => (cancelled += 1),
  });
  return { source, body, cancelled: () => cancelled };
}

describe('responseBody', () => {
  test('ends where upstream ended', async () => {
    const { source, body, cancelled } = setup();
    source.write('a');
    source.end('b');
    expect((await buffer(body)).toString()).toBe('ab');
    expect(cancelled()).toBe(0);
  });

  test('a source that closes without an end is an error, not an end', async () => {
    const { source, body } = setup();
    source.write('a');
    setImmediate(() => source.destroy());
    await expect(buffer(body)).rejects.toMatchObject({ name: 'UpstreamInterrupted', code: 'upstream_interrupted' });
  });

  test('an end that upstream did not mean is an error', async () => {
    const { source, body } = setup({ complete: false });
    source.end('a');
    await expect(buffer(body)).rejects.toMatchObject({ code: 'upstream_interrupted' });
  });

  test('the cause of a broken source is kept', async () => {
    const { source, body } = setup();
    const cause = new Error('reset');
    setImmediate(() => source.destroy(cause));
    await expect(buffer(body)).rejects.toMatchObject({ name: 'UpstreamInterrupted', cause });
  });

  test('gzip in several members is decoded member by member, at once (N6)', async () => {
    const { source, body } = setup({ encoding: 'gzip' });
    const seen: string[] = [];
    body.setEncoding('utf8');
    const next = () =>
      new Promise<void>((resolve) => body.once('data', (text: string) => resolve(void seen.push(text))));
    for (const text of ['one\n', 'two\n', 'three\n']) {
      const arrived = next();
      source.write(gzipSync(text));
      await arrived;
    }
    const ended = new Promise((resolve) => body.once('end', resolve));
    source.end();
    body.resume();
    await ended;
    expect(seen).toEqual(['one\n', 'two\n', 'three\n']);
  });

  test.each([
    ['gzip cut off', gzipSync('some text').subarray(0, 20)],
    ['no gzip', Buffer.from('plain')],
  ])('%s is an error', async (_what, bytes) => {
    const { source, body } = setup({ encoding: 'gzip' });
    source.end(bytes);
    await expect(buffer(body)).rejects.toMatchObject({ code: 'upstream_interrupted' });
  });

  test('abort destroys it with the reason and cancels upstream', async () => {
    const controller = new AbortController();
    const { body, cancelled } = setup({ signal: controller.signal });
    const reason = new Error('enough');
    setImmediate(() => controller.abort(reason));
    await expect(buffer(body)).rejects.toBe(reason);
    expect(cancelled()).toBe(1);
  });

  test('a signal that has aborted already counts', async () => {
    const { body } = setup({ signal: AbortSignal.abort(new Error('early')) });
    await expect(buffer(body)).rejects.toThrow('early');
  });

  test('destroying it cancels upstream', async () => {
    const { body, cancelled } = setup();
    body.destroy();
    await new Promise((resolve) => body.once('close', resolve));
    expect(cancelled()).toBe(1);
  });

  test('a reader that stops stops the source', async () => {
    const { source, body } = setup();
    body.read(0);
    const chunk = Buffer.alloc(16 * 1024);
    let writes = 0;
    while (source.write(chunk)) {
      writes += 1;
      await new Promise(setImmediate);
      expect(writes).toBeLessThan(100);
    }
    expect(body.readableLength + source.readableLength + source.writableLength).toBeLessThan(256 * 1024);
  });
});
