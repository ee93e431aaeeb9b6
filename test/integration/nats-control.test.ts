// The control table over real nats-servers: its contract, and who leads and lives when servers die or lose their stores.
import { describeControl } from '@dogwatch/bus/control-conformance.ts';
import { Lease } from '@dogwatch/bus/lease.ts';
import { Membership } from '@dogwatch/bus/membership.ts';
import { type NatsControl, createNatsControl } from '@dogwatch/bus/nats-control.ts';
import { type NatsPort, NatsTimeout, connectNats } from '@dogwatch/bus/nats-port.ts';
import { systemClock } from '@dogwatch/process/clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { assetsReady } from '../support/assets.ts';
import { eventually } from '../support/eventually.ts';
import { NatsServers } from '../support/nats-server.ts';

const log = createLogger({ level: 'error', pretty: false, destination: { write: () => {} } });
let prefixes = 0;

interface Joined {
  readonly port: NatsPort;
  readonly control: NatsControl;
  readonly close: () => Promise<void>;
}

async function join(nats: NatsServers, prefix: string, replicas = 1): Promise<Joined> {
  const port = await connectNats({ servers: nats.addresses, name: 'nats-control.test', timeoutMs: 5_000 });
  const control = await createNatsControl({
    port,
    clock: systemClock,
    log,
    prefix,
    stored: { replicas, storage: 'file' },
  });
  const close = async (): Promise<void> => {
    await control.close();
    await port.close(500);
  };
  return { port, control, close };
}

async function isSilent(port: NatsPort): Promise<boolean> {
  try {
    await port.request('$JS.API.INFO', Buffer.alloc(0), { timeoutMs: 100 });
    return false;
  } catch (error) {
    return error instanceof NatsTimeout;
  }
}

const built = assetsReady(['nats-server']);
const skipped = built ? '' : ' (skipped: it is not built, see make assets)';

describe.skipIf(!built)(`the control table over nats-server${skipped}`, () => {
  let nats: NatsServers;
  beforeAll(async () => {
    nats = await NatsServers.start({ count: 1 });
  });
  afterAll(() => nats.close());

  describeControl('NatsControl', async () => {
    const prefix = `test${prefixes++}`;
    const joined = await Promise.all([join(nats, prefix), join(nats, prefix)]);
    const [first, second] = joined;
    return {
      first: first.control,
      second: second.control,
      join: async () => {
        const next = await join(nats, prefix);
        joined.push(next);
        return next.control;
      },
      leave: async () => {
        nats.first.freeze();
        await eventually({ what: 'it stands still', timeoutMs: 5_000, everyMs: 1 }, () => isSilent(first.port));
        return () => nats.first.thaw();
      },
      lose: async () => {
        await first.port.request(`$JS.API.STREAM.DELETE.${prefix}__control`, Buffer.alloc(0), { timeoutMs: 5_000 });
      },
      close: async () => {
        nats.first.thaw();
        await Promise.all(joined.map(({ close }) => close()));
      },
    };
  });
});

describe.skipIf(!built)(`an entry of the control table over nats-server${skipped}`, () => {
  test('that is not there any more when the table is read anew was removed', async () => {
    const nats = await NatsServers.start({ count: 1 });
    onTestFinished(() => nats.close());
    const { port, control, close } = await join(nats, 'test');
    onTestFinished(close);
    await control.put('kept', 1);
    await control.put('gone', 1);
    await control.caughtUp();
    const seen: unknown[] = [];
    control.watch('', (key, entry) => seen.push([key, entry?.value]));
    const purge = Buffer.from(JSON.stringify({ filter: 'test.control.gone' }));
    await port.request('$JS.API.STREAM.PURGE.test__control', purge, { timeoutMs: 5_000 });
    expect(control.entries('').size).toBe(2);
    await nats.first.kill9();
    await nats.first.start();
    await eventually({ what: 'it is gone', timeoutMs: 5_000, everyMs: 20 }, () => control.entries('').size === 1);
    expect(seen).toEqual([['gone', undefined]]);
  });
});

interface Worker extends Joined {
  readonly membership: Membership;
  readonly lease: Lease<{ readonly lanes: readonly string[] }>;
  /** Changes of membership and leadership it was told. */
  readonly told: string[];
  /** Takes its entries out of the table and ends; `die` just ends. */
  readonly stop: () => Promise<void>;
  readonly die: () => Promise<void>;
}

/** What a process of dogwatch does with the table: is a member, and leads if it can. */
async function work(nats: NatsServers, name: string, replicas = 1): Promise<Worker> {
  const joined = await join(nats, 'work', replicas);
  const { control, port } = joined;
  const common = { control, clock: systemClock, log };
  const membership = new Membership({ ...common, role: 'ingest', name, details: () => ({ version: 'test' }) });
  const content = (): { readonly lanes: readonly string[] } => ({ lanes: ['v1'] });
  const lease = new Lease({ ...common, key: 'ingest/core/pods', holder: name, content });
  const told: string[] = [];
  membership.onChange(() => told.push(membership.alive('ingest').join()));
  lease.onLost(() => told.push('lost'));
  lease.onFree(() => {
    void lease.acquire().then((held) => held && told.push('leads'));
  });
  const stopping = new AbortController();
  const done = Promise.all([membership.run(stopping.signal), lease.run(stopping.signal)]);
  const stop = async (): Promise<void> => {
    stopping.abort();
    await done;
    await joined.close();
  };
  const die = async (): Promise<void> => {
    await port.close(0);
    stopping.abort();
    await done;
    await control.close();
  };
  onTestFinished(die);
  return { ...joined, membership, lease, told, stop, die };
}

/** Two that work, the first of which leads and is known to both. */
async function workTogether(nats: NatsServers, replicas = 1): Promise<[Worker, Worker]> {
  const first = await work(nats, 'a', replicas);
  await eventually({ what: 'the first leads', timeoutMs: 5_000, everyMs: 20 }, () => first.lease.held);
  const second = await work(nats, 'b', replicas);
  const pair: [Worker, Worker] = [first, second];
  await eventually({ what: 'they know each other', timeoutMs: 5_000, everyMs: 20 }, () =>
    pair.every(({ membership, lease }) => membership.alive('ingest').join() === 'a,b' && lease.holder === 'a'),
  );
  for (const { told } of pair) told.length = 0;
  return pair;
}

const AS_BEFORE = [
  { told: [], held: true, holder: 'a' },
  { told: [], held: false, holder: 'a' },
];

/** Both, once they have put their entries anew and it took as long as it takes to be taken for gone. */
async function putAnew(pair: [Worker, Worker], withinMs: number): Promise<unknown> {
  const versionsOf = ({ control }: Joined): number[] =>
    ['ingest/core/pods', 'member/ingest/a', 'member/ingest/b'].map(
      (key) => control.entries(key).get(key)?.version ?? 0,
    );
  const before = pair.map(versionsOf);
  await eventually({ what: 'all entries are put anew', timeoutMs: withinMs, everyMs: 20 }, () =>
    pair.every((worker, i) => versionsOf(worker).every((version, entry) => version > before[i]![entry]!)),
  );
  await new Promise((resolve) => {
    setTimeout(resolve, 3_500);
  });
  return pair.map(({ told, lease }) => ({ told, held: lease.held, holder: lease.holder }));
}

describe.skipIf(!built)(`who leads and who lives, over nats-server${skipped}`, () => {
  let nats: NatsServers;
  beforeAll(async () => {
    nats = await NatsServers.start({ count: 1 });
  });
  afterAll(() => nats.close());

  test('the next leads 2 to 3 s after the leader died, and it is gone after 3 to 4', async () => {
    const [first, second] = await workTogether(nats);
    const diedAt = performance.now();
    await first.die();
    await eventually({ what: 'the next leads', timeoutMs: 5_000, everyMs: 10 }, () => second.lease.held);
    const leadsAfterMs = performance.now() - diedAt;
    await eventually({ what: 'the first is gone', timeoutMs: 5_000, everyMs: 10 }, () => second.told.includes('b'));
    const goneAfterMs = performance.now() - diedAt;
    expect(second.told).toEqual(['leads', 'b']);
    expect(leadsAfterMs).toBeGreaterThan(1_400);
    expect(leadsAfterMs).toBeLessThan(3_000);
    expect(goneAfterMs).toBeGreaterThan(1_900);
    expect(goneAfterMs).toBeLessThan(4_000);
    await second.stop();
  });

  test('the next leads at once when the leader stops', async () => {
    const [first, second] = await workTogether(nats);
    const stoppedAt = performance.now();
    await first.stop();
    await eventually({ what: 'the next leads', timeoutMs: 5_000, everyMs: 10 }, () => second.lease.held);
    expect(performance.now() - stoppedAt).toBeLessThan(1_000);
    expect(second.membership.alive('ingest')).toEqual(['b']);
    await second.stop();
  });

  test('nothing changes when the server restarts, or loses its store: all entries are back within 2 s', async () => {
    const pair = await workTogether(nats);
    await nats.first.kill9();
    await nats.first.start();
    expect(await putAnew(pair, 2_000)).toEqual(AS_BEFORE);
    await nats.first.kill9();
    await nats.first.wipe();
    await nats.first.start();
    expect(await putAnew(pair, 2_000)).toEqual(AS_BEFORE);
    for (const { stop } of pair) await stop();
  });
});

describe.skipIf(!built)(`who leads and who lives, over three nats-servers${skipped}`, () => {
  test('nothing changes when the leader of the stream is killed, nor when all lose their stores', async () => {
    const nats = await NatsServers.start({ count: 3 });
    onTestFinished(() => nats.close());
    const pair = await workTogether(nats, 3);
    const info = await pair[0].port.request('$JS.API.STREAM.INFO.work__control', Buffer.from('{}'), {
      timeoutMs: 5_000,
    });
    const { cluster } = JSON.parse(info.data.toString()) as { cluster: { leader: string } };
    const leader = nats.servers.find(({ name }) => name === cluster.leader)!;
    await leader.kill9();
    expect(await putAnew(pair, 20_000)).toEqual(AS_BEFORE);
    await leader.start();
    await Promise.all(nats.servers.map((server) => server.kill9()));
    await Promise.all(nats.servers.map((server) => server.wipe()));
    await Promise.all(nats.servers.map((server) => server.start()));
    // Until JetStream has a leader nothing can be put.
    expect(await putAnew(pair, 20_000)).toEqual(AS_BEFORE);
    for (const { stop } of pair) await stop();
  });
});
