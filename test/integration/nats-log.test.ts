// The log over real nats-servers: fence, replay, retention, and what happens when servers die.
import { randomBytes } from 'node:crypto';
import { batchOf, watermark } from '@dogwatch/bus/bus-conformance.ts';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { Deposed, type NatsAppender, StreamReplaced } from '@dogwatch/bus/nats-appender.ts';
import { NatsLog, type NatsLogOptions } from '@dogwatch/bus/nats-log.ts';
import type { LogStart, NatsLogReader } from '@dogwatch/bus/nats-log-reader.ts';
import { type NatsPort, connectNats } from '@dogwatch/bus/nats-port.ts';
import { systemClock } from '@dogwatch/process/clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { pod } from '@dogwatch/watch/test-objects.ts';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { assetsReady } from '../support/assets.ts';
import { eventually } from '../support/eventually.ts';
import { NatsServers } from '../support/nats-server.ts';

const TRACK = 'core/v1/pods/json/object/0';
const MEBIBYTE = 1024 * 1024;
const log = createLogger({ level: 'error', pretty: false, destination: { write: () => {} } });
let prefixes = 0;

interface Started {
  readonly port: NatsPort;
  readonly log: NatsLog;
  /** The same log as another process has it. */
  readonly other: () => Promise<NatsLog>;
}

async function startLog(nats: NatsServers, options: Partial<NatsLogOptions> = {}): Promise<Started> {
  const prefix = `test${prefixes++}`;
  const connect = async (): Promise<NatsPort> => {
    const port = await connectNats({ servers: nats.addresses, name: 'nats-log.test', timeoutMs: 5_000 });
    onTestFinished(() => port.close(1_000));
    return port;
  };
  const on = (port: NatsPort): NatsLog =>
    new NatsLog({
      port,
      clock: systemClock,
      log,
      prefix,
      resource: { group: '', resource: 'pods' },
      replicas: 1,
      storage: 'memory',
      maxBytes: 64 * MEBIBYTE,
      maxAgeMs: 3_600_000,
      ...options,
    });
  const port = await connect();
  const first = on(port);
  await eventually({ what: 'the stream', timeoutMs: 10_000 }, () => first.open());
  return { port, log: first, other: async () => on(await connect()) };
}

interface Reading {
  readonly seen: Envelope[];
  readonly sequences: number[];
  readonly lost: string[];
  readonly reader: NatsLogReader;
  /** Resolves once `count` envelopes were read. */
  readonly until: (count: number, timeoutMs?: number) => Promise<void>;
}

function read(from: NatsLog, start: LogStart): Reading {
  const [seen, sequences, lost]: [Envelope[], number[], string[]] = [[], [], []];
  const reader = from.read(TRACK, {
    from: start,
    onEnvelope: (envelope, sequence) => {
      seen.push(envelope);
      sequences.push(sequence);
    },
    onLost: (reason) => lost.push(reason),
  });
  onTestFinished(() => reader.stop());
  const until = async (count: number, timeoutMs = 5_000): Promise<void> => {
    await eventually({ what: `${count} envelopes`, timeoutMs, everyMs: 5 }, () => seen.length >= count);
  };
  return { seen, sequences, lost, reader, until };
}

function leads(appender: NatsAppender): NatsAppender {
  onTestFinished(() => appender.close());
  return appender;
}

const built = assetsReady(['nats-server']);
describe.skipIf(!built)(
  `the log over nats-server${built ? '' : ' (skipped: it is not built, see make assets)'}`,
  () => {
    let nats: NatsServers;
    beforeAll(async () => {
      nats = await NatsServers.start({ count: 1 });
    });
    afterAll(() => nats.close());

    test('gives back what was appended, in order, then goes on live', async () => {
      const at = await startLog(nats);
      const appender = leads(await at.log.campaign(TRACK));
      expect(appender.head).toEqual({ epoch: 0, rv: 0, sequence: 0 });
      const sent: Envelope[] = Array.from({ length: 50 }, (_, i) =>
        batchOf([pod('a', 2 * i + 1), pod('b', 2 * i + 2)]),
      );
      for (const envelope of sent.slice(0, 30)) await appender.append(envelope);
      const { seen, sequences, until, reader } = read(await at.other(), { oldest: true });
      await until(30);
      for (const envelope of sent.slice(30)) await appender.append(envelope);
      await until(50);
      expect(seen).toEqual(sent);
      expect(sequences).toEqual(sequences.toSorted((a, b) => a - b));
      expect(reader.counters).toMatchObject({ received: 50, gaps: 0, reordered: 0, repeated: 0 });
    });

    test('is read from a version, or behind a sequence', async () => {
      const at = await startLog(nats);
      const appender = leads(await at.log.campaign(TRACK));
      const other = leads(await at.log.campaign('core/v1/pods/json/object/1'));
      const sequences: number[] = [];
      for (let i = 0; i < 40; i++) {
        sequences.push(await appender.append(watermark(10 * i)));
        await other.append(watermark(10 * i));
      }
      const expected = Array.from({ length: 5 }, (_, i) => watermark(350 + 10 * i));
      for (const from of [{ rv: 345 }, { rv: 340 }, { sequence: sequences[34]! }]) {
        const { seen, until } = read(at.log, from);
        await until(5);
        expect(seen).toEqual(expected);
      }
      const { seen, until } = read(at.log, { rv: 390 });
      await appender.append(watermark(400));
      await until(1);
      expect(seen).toEqual([watermark(400)]);
    });

    test('takes envelopes longer than a message', async () => {
      const at = await startLog(nats);
      const appender = leads(await at.log.campaign(TRACK));
      const labels = {
        noise: randomBytes(2 * MEBIBYTE).toString('hex'),
      };
      const sent = [batchOf([pod('long', 1, { labels }), pod('short', 2)]), watermark(3)];
      for (const envelope of sent) await appender.append(envelope);
      const { seen, until } = read(at.log, { rv: 1 });
      await until(2);
      expect(seen).toEqual(sent);
    });

    test('keeps a rival out: after a takeover the one before can store nothing', async () => {
      const at = await startLog(nats);
      const first = leads(await at.log.campaign(TRACK));
      await first.append(watermark(1));
      const second = leads(await (await at.other()).campaign(TRACK));
      expect(second.term).toBeGreaterThan(first.term);
      expect(second.head).toMatchObject({ epoch: 1, rv: 1 });
      await expect(first.append(watermark(2))).rejects.toThrow(Deposed);
      await second.append(watermark(3));
      await expect(first.append(watermark(4))).rejects.toThrow(Deposed);
      await second.append(watermark(5));
      const { seen, until } = read(at.log, { oldest: true });
      await until(3);
      expect(seen).toEqual([1, 3, 5].map(watermark));
    });

    test('has one line of history while rivals depose each other all the time', async () => {
      const at = await startLog(nats);
      const logs = [at.log, await at.other(), await at.other()];
      const acknowledged: number[] = [];
      let rv = 0;
      let takeovers = 0;
      const rival = async (own: NatsLog): Promise<void> => {
        while (acknowledged.length < 300) {
          try {
            const appender = leads(await own.campaign(TRACK));
            takeovers++;
            for (let i = 0; i < 10; i++) {
              const mine = ++rv;
              await appender.append(watermark(mine));
              acknowledged.push(mine);
            }
          } catch (error) {
            if (!(error instanceof Deposed)) throw error;
          }
        }
      };
      await Promise.all(logs.map(rival));
      const { seen, until, reader } = read(at.log, { oldest: true });
      await until(acknowledged.length);
      const stored = seen.map((envelope) => (envelope.kind === 'watermark' ? envelope.rv : -1));
      expect(acknowledged.filter((it) => !stored.includes(it))).toEqual([]);
      expect(new Set(stored).size).toBe(stored.length);
      expect(takeovers).toBeGreaterThan(10);
      expect(reader.counters).toMatchObject({ gaps: 0, reordered: 0, repeated: 0, deposed: 0 });
    });

    test('keeps what fits, and says so where a reader comes too late', async () => {
      const at = await startLog(nats, { maxBytes: MEBIBYTE });
      const appender = leads(await at.log.campaign(TRACK));
      const first = await appender.append(watermark(1));
      for (let i = 2; i < 40; i++)
        await appender.append(batchOf([pod('p', i, { labels: { noise: randomBytes(50_000).toString('hex') } })]));
      const late = read(at.log, { sequence: first });
      await eventually({ what: 'it is told', timeoutMs: 5_000, everyMs: 5 }, () => late.lost.length > 0);
      expect(late).toMatchObject({ lost: ['evicted'], seen: [] });
      const oldest = read(at.log, { oldest: true });
      await oldest.until(5);
      expect(oldest.seen.length).toBeLessThan(25);
      // Retention took the fence, too: the leader finds out that it has no rival.
      await appender.append(watermark(100));
      await eventually({ what: 'the newest', timeoutMs: 5_000, everyMs: 5 }, () => {
        const last = oldest.seen.at(-1);
        return last?.kind === 'watermark' && last.rv === 100;
      });
    });

    test('that was replaced is not mistaken for the one before', async () => {
      const at = await startLog(nats);
      const appender = leads(await at.log.campaign(TRACK));
      const { until, lost, reader } = read(at.log, { oldest: true });
      await appender.append(watermark(1));
      await until(1);
      await at.port.request('$JS.API.STREAM.DELETE.' + streamOf(prefixes - 1), Buffer.alloc(0), { timeoutMs: 5_000 });
      await eventually({ what: 'the stream', timeoutMs: 5_000 }, () => at.log.open());
      await eventually({ what: 'it is told', timeoutMs: 10_000, everyMs: 20 }, () => lost.length > 0);
      expect(lost).toEqual(['replaced']);
      expect(reader.consumers).toBeGreaterThan(0);
      const successor = leads(await at.log.campaign(TRACK));
      expect(successor.term).toBeGreaterThan(appender.term);
      await expect(appender.append(watermark(2))).rejects.toThrow(StreamReplaced);
      // The one before found its fence's number again and was stored; readers know it by its term.
      await successor.append(watermark(3));
      const anew = read(at.log, { oldest: true });
      await anew.until(2);
      expect(anew.seen).toEqual([watermark(2), watermark(3)]);
    });
  },
);

describe.skipIf(!built)('the log over three nats-servers', () => {
  test('loses, doubles and reorders nothing when the leader of the stream is killed', async () => {
    const nats = await NatsServers.start({ count: 3 });
    onTestFinished(() => nats.close());
    const at = await startLog(nats, { replicas: 3, storage: 'file' });
    const appender = leads(await at.log.campaign(TRACK));
    const { seen, until, reader } = read(await at.other(), { oldest: true });
    const sent: Envelope[] = [];
    const appendSome = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        const envelope = watermark(sent.length);
        sent.push(envelope);
        await appender.append(envelope);
      }
    };
    await appendSome(200);
    const info = await at.port.request('$JS.API.STREAM.INFO.' + streamOf(prefixes - 1), Buffer.from('{}'), {
      timeoutMs: 5_000,
    });
    const { cluster } = JSON.parse(info.data.toString()) as { cluster: { leader: string } };
    const leader = nats.servers.find(({ name }) => name === cluster.leader)!;
    await leader.kill9();
    await appendSome(200);
    await until(400, 30_000);
    await leader.start();
    await appendSome(100);
    await until(500, 30_000);
    expect(seen).toEqual(sent);
    expect(reader.counters).toMatchObject({ gaps: 0, reordered: 0, deposed: 0 });
  });
});

function streamOf(prefix: number): string {
  return `test${prefix}__core__pods`;
}
