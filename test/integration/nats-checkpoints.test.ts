// Checkpoints in real nats-servers: whole or not at all, whoever writes, dies or restarts.
import { randomBytes } from 'node:crypto';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type CheckpointFacts, CheckpointNotWritten, NatsCheckpoints } from '@dogwatch/bus/nats-checkpoints.ts';
import { CheckpointGone } from '@dogwatch/bus/nats-checkpoint-pages.ts';
import { type NatsPort, connectNats } from '@dogwatch/bus/nats-port.ts';
import { systemClock } from '@dogwatch/process/clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { assetsReady } from '../support/assets.ts';
import { eventually } from '../support/eventually.ts';
import { NatsServers } from '../support/nats-server.ts';

const TRACK = 'core/v1/pods/json/object/0';
const MEBIBYTE = 1024 * 1024;
const log = createLogger({ level: 'error', pretty: false, destination: { write: () => {} } });
let prefixes = 0;

interface Opened {
  readonly port: NatsPort;
  readonly checkpoints: NatsCheckpoints;
  readonly prefix: string;
}

async function open(
  nats: NatsServers,
  { prefix = `test${prefixes++}`, maxBytes = 64 * MEBIBYTE, replicas = 1 } = {},
): Promise<Opened> {
  const port = await connectNats({ servers: nats.addresses, name: 'nats-checkpoints.test', timeoutMs: 5_000 });
  onTestFinished(() => port.close(500));
  const options = { port, clock: systemClock, log, prefix, replicas, storage: 'file' as const, maxBytes };
  const checkpoints = new NatsCheckpoints(options);
  await eventually({ what: 'the stream', timeoutMs: 10_000 }, async () => {
    await checkpoints.open();
    return true;
  });
  return { port, checkpoints, prefix };
}

function pagesOf(count: number, bytes: number, seed = 0): Buffer[] {
  const noise = randomBytes(bytes);
  return Array.from({ length: count }, (_, i) => {
    const page = Buffer.from(noise);
    page.writeUInt32BE(seed + i);
    return page;
  });
}

/** Undefined if there is no checkpoint. */
async function readAll(checkpoints: NatsCheckpoints, track = TRACK): Promise<Buffer[] | undefined> {
  const checkpoint = await checkpoints.read(track);
  if (checkpoint === undefined) return undefined;
  const pages: Buffer[] = [];
  for await (const page of checkpoint.pages()) pages.push(Buffer.from(page));
  return pages;
}

async function storedMessages({ port, prefix }: Opened): Promise<number> {
  const info = await port.request(`$JS.API.STREAM.INFO.${prefix}__checkpoints`, Buffer.from('{}'), {
    timeoutMs: 5_000,
  });
  return (JSON.parse(info.data.toString()) as { state: { messages: number } }).state.messages;
}

const built = assetsReady(['nats-server']);
const skipped = built ? '' : ' (skipped: it is not built, see make assets)';

describe.skipIf(!built)(`checkpoints in nats-server${skipped}`, () => {
  let nats: NatsServers;
  beforeAll(async () => {
    nats = await NatsServers.start({ count: 1 });
  });
  afterAll(() => nats.close());

  test('are read as they were written, the newest of each track, and the older are removed', async () => {
    const at = await open(nats);
    const { checkpoints } = at;
    expect(await checkpoints.latest(TRACK)).toBeUndefined();
    expect(await checkpoints.read(TRACK)).toBeUndefined();
    const [older, newer, other] = [pagesOf(5, 1_000), pagesOf(3, 2_000), pagesOf(2, 10)];
    await checkpoints.write(TRACK, older);
    expect(await readAll(checkpoints)).toEqual(older);
    await checkpoints.write('other/0', other);
    const facts = await checkpoints.write(TRACK, newer);
    expect(facts).toMatchObject({ bytes: 6_000 });
    expect(Math.abs(facts.at - Date.now())).toBeLessThan(60_000);
    expect(await checkpoints.latest(TRACK)).toEqual(facts);
    expect(await readAll(checkpoints)).toEqual(newer);
    expect(await readAll(checkpoints, 'other/0')).toEqual(other);
    expect(await storedMessages(at)).toBe(3 + 1 + 2 + 1);
  });

  test('may be empty, have empty pages, and pages longer than a message', async () => {
    const { checkpoints } = await open(nats);
    for (const pages of [[], [Buffer.alloc(0)], [...pagesOf(2, 3 * MEBIBYTE), Buffer.from('tail')]]) {
      await checkpoints.write(TRACK, pages);
      expect(await readAll(checkpoints)).toEqual(pages);
    }
  });

  test('take their pages one by one, and never hold up others for long', { retry: 2 }, async () => {
    const { checkpoints } = await open(nats, { maxBytes: 256 * MEBIBYTE });
    const page = randomBytes(600 * 1024);
    let [made, taken] = [0, 0];
    const pages = async function* (): AsyncGenerator<Buffer> {
      for (; made < 100; made++) yield page;
    };
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    await checkpoints.write(TRACK, pages());
    const checkpoint = await checkpoints.read(TRACK);
    for await (const read of checkpoint!.pages()) {
      expect(read.length).toBe(page.length);
      taken++;
    }
    delay.disable();
    expect([made, taken]).toEqual([100, 100]);
    expect(delay.percentile(99) / 1e6).toBeLessThan(20);
  });

  test('of a writer that failed half-way are not there: the one before is', async () => {
    const at = await open(nats);
    const { checkpoints } = at;
    const before = pagesOf(3, 1_000);
    await checkpoints.write(TRACK, before);
    const failing = function* (): Generator<Buffer> {
      yield* pagesOf(5, 1_000);
      throw new Error('cannot go on');
    };
    await expect(checkpoints.write(TRACK, failing())).rejects.toThrow('cannot go on');
    expect(await readAll(checkpoints)).toEqual(before);
    expect(await storedMessages(at)).toBe(3 + 1);
  });

  test('of a writer that died half-way stay out of the way, and are removed in time', async () => {
    const at = await open(nats);
    const before = pagesOf(3, 1_000);
    await at.checkpoints.write(TRACK, before);
    const yesterday = { ...systemClock, wall: () => Date.now() - 86_400_000 };
    const options = { log, prefix: at.prefix, replicas: 1, storage: 'file' as const, maxBytes: 64 * MEBIBYTE };
    const port = await connectNats({ servers: nats.addresses, name: 'dies', timeoutMs: 5_000 });
    const dying = new NatsCheckpoints({ ...options, port, clock: yesterday });
    const pages = async function* (): AsyncGenerator<Buffer> {
      yield* pagesOf(5, 1_000);
      await port.close(500);
      yield* pagesOf(5, 1_000);
    };
    await expect(dying.write(TRACK, pages())).rejects.toThrow(CheckpointNotWritten);
    expect(await storedMessages(at)).toBe(3 + 1 + 5);
    expect(await readAll(at.checkpoints)).toEqual(before);
    await at.checkpoints.write(TRACK, before);
    expect(await storedMessages(at)).toBe(3 + 1);
  });

  test('of two writers at once do not mix; the one begun later is the newest', async () => {
    const at = await open(nats);
    const second = await open(nats, { prefix: at.prefix });
    const [early, late] = [pagesOf(40, 1_000), pagesOf(20, 1_000, 1_000)];
    const begun = Promise.withResolvers<void>();
    const done = Promise.withResolvers<CheckpointFacts>();
    const slow = async function* (): AsyncGenerator<Buffer> {
      yield* early.slice(0, 20);
      begun.resolve();
      await done.promise;
      yield* early.slice(20);
    };
    const first = at.checkpoints.write(TRACK, slow());
    await begun.promise;
    const newest = await second.checkpoints.write(TRACK, late);
    expect(await readAll(at.checkpoints)).toEqual(late);
    done.resolve(newest);
    expect(await first).toEqual(newest);
    expect(await readAll(at.checkpoints)).toEqual(late);
    expect(await storedMessages(at)).toBe(20 + 1);
    const many = Array.from({ length: 8 }, (_, i) => pagesOf(10, 1_000, i));
    await Promise.all(many.map((pages, i) => (i % 2 === 0 ? at : second).checkpoints.write(TRACK, pages)));
    expect(many).toContainEqual(await readAll(at.checkpoints));
    expect(await storedMessages(at)).toBe(10 + 1);
  });

  test('that are replaced while they are read say so', async () => {
    const { checkpoints } = await open(nats);
    await checkpoints.write(TRACK, pagesOf(5, 1_000));
    const reading = (await checkpoints.read(TRACK))!.pages()[Symbol.asyncIterator]();
    await reading.next();
    await checkpoints.write(TRACK, pagesOf(5, 1_000));
    await expect(reading.next()).rejects.toThrow(CheckpointGone);
    expect(await readAll(checkpoints)).toHaveLength(5);
  });

  test('that do not fit are not written: the one before stays', async () => {
    const at = await open(nats, { maxBytes: 4 * MEBIBYTE });
    const before = pagesOf(2, MEBIBYTE / 2);
    await at.checkpoints.write(TRACK, before);
    await expect(at.checkpoints.write(TRACK, pagesOf(10, MEBIBYTE / 2))).rejects.toThrow(CheckpointNotWritten);
    expect(await readAll(at.checkpoints)).toEqual(before);
    expect(await storedMessages(at)).toBe(2 + 1);
  });

  test('survive a restart of the server', async () => {
    const { checkpoints } = await open(nats);
    const pages = pagesOf(10, 10_000);
    await checkpoints.write(TRACK, pages);
    await nats.first.kill9();
    const reading = readAll(checkpoints);
    await nats.first.start();
    expect(await reading).toEqual(pages);
  });
});

describe.skipIf(!built)(`checkpoints in three nats-servers${skipped}`, () => {
  test('are read and written on when the leader of the stream is killed, and survive a restart of all', async () => {
    const nats = await NatsServers.start({ count: 3 });
    onTestFinished(() => nats.close());
    const at = await open(nats, { replicas: 3 });
    const before = pagesOf(20, 100_000);
    await at.checkpoints.write(TRACK, before);
    const info = await at.port.request(`$JS.API.STREAM.INFO.${at.prefix}__checkpoints`, Buffer.from('{}'), {
      timeoutMs: 5_000,
    });
    const { cluster } = JSON.parse(info.data.toString()) as { cluster: { leader: string } };
    const checkpoint = await at.checkpoints.read(TRACK);
    const pages: Buffer[] = [];
    for await (const page of checkpoint!.pages()) {
      if (pages.length === 5) await nats.servers.find(({ name }) => name === cluster.leader)!.kill9();
      pages.push(Buffer.from(page));
    }
    expect(pages).toEqual(before);
    const after = pagesOf(20, 100_000);
    await eventually({ what: 'the next checkpoint', timeoutMs: 20_000 }, () => at.checkpoints.write(TRACK, after));
    await Promise.all(nats.servers.map((server) => server.kill9()));
    await Promise.all(nats.servers.map((server) => server.start()));
    expect(await readAll(at.checkpoints)).toEqual(after);
  });
});
