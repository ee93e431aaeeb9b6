// The bus over real nats-servers: what a NATS in memory cannot show, and the same suite as every bus.
import { describeBus, follow, watermark, watermarks } from '@dogwatch/bus/bus-conformance.ts';
import { NoResponder } from '@dogwatch/bus/bus.ts';
import { type NatsBus, type NatsBusOptions, createNatsBus } from '@dogwatch/bus/nats-bus.ts';
import { type NatsPort, connectNats } from '@dogwatch/bus/nats-port.ts';
import { systemClock } from '@dogwatch/process/clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { assetsReady } from '../support/assets.ts';
import { BreakableProxy } from '../support/breakable-proxy.ts';
import { eventually } from '../support/eventually.ts';
import { NatsServers } from '../support/nats-server.ts';

const LANE = { group: '', version: 'v1', resource: 'pods', encoding: 'json', view: 'object' } as const;
const log = createLogger({ level: 'error', pretty: false, destination: { write: () => {} } });
let prefixes = 0;

async function connect(addresses: readonly string[]): Promise<NatsPort> {
  return connectNats({ servers: addresses, name: 'nats-bus.test', timeoutMs: 5_000 });
}

async function busAt(addresses: readonly string[], options: Partial<NatsBusOptions> = {}): Promise<NatsBus> {
  const port = await connect(addresses);
  const bus = createNatsBus({ port, clock: systemClock, log, heartbeatMs: 60_000, ...options });
  onTestFinished(() => bus.close());
  return bus;
}

const built = assetsReady(['nats-server']);
describe.skipIf(!built)(
  `the bus over nats-server${built ? '' : ' (skipped: it is not built, see make assets)'}`,
  () => {
    let nats: NatsServers;
    beforeAll(async () => {
      nats = await NatsServers.start({ count: 1 });
    });
    afterAll(() => nats.close());

    describeBus('NatsBus', async () => {
      const prefix = `test${prefixes++}.dogwatch`;
      const options = { clock: systemClock, log, prefix, heartbeatMs: 60_000 };
      const publisher = createNatsBus({ port: await connect(nats.addresses), ...options });
      const follower = createNatsBus({ port: await connect(nats.addresses), ...options });
      const settle = async (): Promise<void> => {
        await follower.flush();
        await publisher.flush();
        await follower.flush();
      };
      const close = async (): Promise<void> => {
        await publisher.close();
        await follower.close();
      };
      return { publisher, follower, settle, close };
    });

    describe('closing', () => {
      test('sends what was published before, and refuses requests', async () => {
        const prefix = `test${prefixes++}`;
        const [publisher, follower] = [
          await busAt(nats.addresses, { prefix }),
          await busAt(nats.addresses, { prefix }),
        ];
        const { seen } = follow(follower, 'a/0');
        await follower.flush();
        const sent = watermarks(5_000);
        for (const envelope of sent) publisher.publish('a/0', envelope);
        await publisher.close();
        publisher.publish('a/0', watermark(5_000));
        await follower.flush();
        expect(seen).toEqual(sent);
        expect(publisher.counters.dropped).toBe(1);
        await expect(publisher.request('open', { lane: LANE })).rejects.toMatchObject({ status: { code: 503 } });
      });
    });

    describe('messages that are none of ours', () => {
      test('are skipped, on the track and at whoever answers requests', async () => {
        const prefix = `test${prefixes++}`;
        const bus = await busAt(nats.addresses, { prefix });
        const stranger = await connect(nats.addresses);
        onTestFinished(() => stranger.close(1_000));
        const { seen } = follow(bus, 'a/0');
        bus.serve('open', () => Promise.resolve({ partitions: 1 }));
        await bus.flush();
        for (const text of ['', 'nonsense', '{"kind":"Pod"}', '\0'.repeat(100_000)]) {
          stranger.publish(`${prefix}.live.a.0`, Buffer.from(text));
          stranger.publish(`${prefix}.live.a.0`, Buffer.from(text), { headers: { Foreign: 'yes' } });
        }
        const answer = await stranger.request(`${prefix}.request.open.any`, Buffer.from('nonsense'), {
          timeoutMs: 1_000,
        });
        expect(answer.data.length).toBeGreaterThan(0);
        await stranger.flush();
        bus.publish('a/0', watermark(1));
        await bus.request('open', { lane: LANE });
        expect(seen).toEqual([watermark(1)]);
        expect(bus.counters).toMatchObject({ unreadable: 8, gaps: 0 });
      });
    });

    describe('a connection that breaks', () => {
      /** A bus behind a network that can be broken, and one that is not. */
      const halves = async (): Promise<{ proxy: BreakableProxy; near: NatsBus; far: NatsBus }> => {
        const prefix = `test${prefixes++}`;
        const proxy = await BreakableProxy.before({ server: `http://${nats.first.address}` });
        onTestFinished(() => proxy.close());
        const far = await busAt([proxy.address], { prefix, heartbeatMs: 100 });
        return { proxy, far, near: await busAt(nats.addresses, { prefix, heartbeatMs: 100 }) };
      };

      test('comes back; a follower gets what is published from then on, and is shown what it missed', async () => {
        const { proxy, near, far } = await halves();
        const { seen } = follow(far, 'a/0');
        await far.flush();
        near.publish('a/0', watermark(1));
        await eventually({ what: 'the first', timeoutMs: 5_000, everyMs: 5 }, () => seen.length === 1);
        proxy.break();
        await eventually({ what: 'it notices', timeoutMs: 5_000, everyMs: 5 }, () => !far.connected);
        near.publish('a/0', watermark(2));
        near.publish('a/0', watermark(3));
        proxy.mend();
        await eventually({ what: 'the tail', timeoutMs: 5_000, everyMs: 5 }, () => seen.length === 2);
        near.publish('a/0', watermark(4));
        await eventually({ what: 'the next', timeoutMs: 5_000, everyMs: 5 }, () => seen.length === 3);
        expect(seen).toEqual([1, 3, 4].map(watermark));
        expect(far.counters).toMatchObject({ gaps: 1, disconnects: 1 });
      });

      test('comes back; a publisher says then where its tracks stand', async () => {
        const { proxy, near, far } = await halves();
        const { seen } = follow(near, 'a/0');
        await near.flush();
        far.publish('a/0', watermark(1));
        await eventually({ what: 'the first', timeoutMs: 5_000, everyMs: 5 }, () => seen.length === 1);
        proxy.break();
        await eventually({ what: 'it notices', timeoutMs: 5_000, everyMs: 5 }, () => !far.connected);
        for (const envelope of watermarks(1_000, 2)) far.publish('a/0', envelope);
        expect(far.counters.dropped).toBe(1_000);
        proxy.mend();
        await eventually({ what: 'the tail', timeoutMs: 5_000, everyMs: 5 }, () => seen.length === 2);
        expect(seen).toEqual([1, 1_001].map(watermark));
      });

      test('fails the requests under way and those that follow; then they are answered again', async () => {
        const { proxy, near, far } = await halves();
        near.serve('open', () => new Promise(() => {}));
        near.serve('close', () => Promise.resolve());
        await near.flush();
        const open = far.request('open', { lane: LANE });
        await far.request('close', { lane: LANE });
        proxy.break();
        await expect(open).rejects.toMatchObject({ status: { code: 503 } });
        await expect(far.request('close', { lane: LANE })).rejects.toMatchObject({ status: { code: 503 } });
        proxy.mend();
        await eventually({ what: 'an answer', timeoutMs: 5_000, everyMs: 20 }, async () => {
          await far.request('close', { lane: LANE });
          return true;
        });
      });
    });
  },
);

describe.skipIf(!built)('the bus over a nats-server that fails', () => {
  test('goes on when the server is killed and started again', async () => {
    const nats = await NatsServers.start({ count: 1 });
    onTestFinished(() => nats.close());
    const [publisher, follower] = [
      await busAt(nats.addresses, { heartbeatMs: 100 }),
      await busAt(nats.addresses, { heartbeatMs: 100 }),
    ];
    publisher.serve('open', () => Promise.resolve({ partitions: 1 }));
    const { seen } = follow(follower, 'a/0');
    await follower.flush();
    publisher.publish('a/0', watermark(1));
    await eventually({ what: 'the first', timeoutMs: 5_000, everyMs: 5 }, () => seen.length === 1);
    await nats.first.kill9();
    await eventually(
      { what: 'both notice', timeoutMs: 5_000, everyMs: 5 },
      () => !publisher.connected && !follower.connected,
    );
    publisher.publish('a/0', watermark(2));
    await nats.first.start();
    await eventually({ what: 'the lost tail', timeoutMs: 5_000, everyMs: 5 }, () => seen.length === 2);
    publisher.publish('a/0', watermark(3));
    await eventually({ what: 'the next', timeoutMs: 5_000, everyMs: 5 }, () => seen.length === 3);
    expect(seen).toEqual(watermarks(3, 1));
    await eventually({ what: 'an answer', timeoutMs: 5_000, everyMs: 20 }, () => answered(follower));
  });

  test('notices a server that hangs, and is bounded while it does', async () => {
    const nats = await NatsServers.start({ count: 1 });
    onTestFinished(() => nats.close());
    // More than the kernel takes of a connection, so that the client has some of it, too.
    const maxPendingBytes = 8 * 1024 * 1024;
    const publisher = await busAt(nats.addresses, { maxPendingBytes, heartbeatMs: 100 });
    const follower = await busAt(nats.addresses, { heartbeatMs: 100 });
    const { seen } = follow(follower, 'a/0');
    await follower.flush();
    nats.first.freeze();
    let rv = 0;
    while (publisher.counters.dropped === 0) publisher.publish('a/0', watermark(++rv));
    expect(publisher.counters.publishedBytes).toBeLessThan(1.1 * maxPendingBytes);
    await eventually({ what: 'both notice', timeoutMs: 10_000 }, () => !publisher.connected && !follower.connected);
    nats.first.thaw();
    // It need not be the last: the server may take what it was given before it hung only after that.
    await eventually({ what: 'the head', timeoutMs: 10_000, everyMs: 10 }, () =>
      seen.some((envelope) => envelope.kind === 'watermark' && envelope.rv === rv),
    );
  });

  test('goes on at another server of the cluster when its own is killed', async () => {
    const nats = await NatsServers.start({ count: 3 });
    onTestFinished(() => nats.close());
    const [first, second] = [nats.servers[0]!, nats.servers[1]!];
    const publisher = await busAt([first.address], { heartbeatMs: 100 });
    const follower = await busAt([second.address], { heartbeatMs: 100 });
    publisher.serve('open', () => Promise.resolve({ partitions: 1 }));
    const { seen } = follow(follower, 'a/0');
    await follower.flush();
    await eventually({ what: 'an answer', timeoutMs: 5_000, everyMs: 20 }, () => answered(follower));
    publisher.publish('a/0', watermark(1));
    await eventually({ what: 'the first', timeoutMs: 5_000, everyMs: 5 }, () => seen.length === 1);
    await first.kill9();
    await eventually({ what: 'it notices', timeoutMs: 5_000, everyMs: 5 }, () => !publisher.connected);
    const killed = performance.now();
    publisher.publish('a/0', watermark(2));
    await eventually({ what: 'the tail', timeoutMs: 5_000, everyMs: 5 }, () => seen.length === 2);
    expect(performance.now() - killed).toBeLessThan(3_000);
    expect(seen).toEqual(watermarks(2, 1));
    await eventually({ what: 'an answer', timeoutMs: 5_000, everyMs: 20 }, () => answered(follower));
  });
});

/** Whether an `open` request is answered; nobody may be there yet, or again. */
async function answered(bus: NatsBus): Promise<boolean> {
  try {
    await bus.request('open', { lane: LANE });
    return true;
  } catch (error) {
    if (error instanceof NoResponder || (error as { code?: unknown }).code === 'StatusError') return false;
    throw error;
  }
}
