// Buses over a NATS in memory, on a clock that stands still.
import { expect, onTestFinished } from 'vitest';
import { type FakeClock, createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { watermark } from './bus-conformance.ts';
import { FakeNats, type FakePort } from './fake-nats.ts';
import { type NatsBus, type NatsBusOptions, createNatsBus } from './nats-bus.ts';

export function busOn(
  port: FakePort,
  clock: FakeClock,
  options: Partial<NatsBusOptions> = {},
  lines: string[] = [],
): NatsBus {
  const log = createLogger({
    level: 'debug',
    pretty: false,
    destination: { write: (line) => void lines.push(line) },
  });
  return createNatsBus({ port, clock, log, ...options });
}

/** Two buses over one NATS, on a clock that stands still. */
export function start(options: Partial<NatsBusOptions> = {}) {
  const nats = new FakeNats();
  const clock = createFakeClock();
  const lines: string[] = [];
  const ports = { publisher: nats.connect(), follower: nats.connect() };
  const publisher = busOn(ports.publisher, clock, options, lines);
  const follower = busOn(ports.follower, clock, options, lines);
  onTestFinished(async () => {
    await publisher.close();
    await follower.close();
    expect(clock.pending).toBe(0);
  });
  const publish = async (...rvs: number[]): Promise<void> => {
    for (const rv of rvs) publisher.publish('a/0', watermark(rv));
    await nats.settle();
  };
  const beat = async (): Promise<void> => {
    await clock.advanceAsync(1_000);
    await nats.settle();
  };
  return { nats, clock, lines, ports, publisher, follower, publish, beat };
}

export function flipBit(data: Buffer): Buffer {
  const copy = Buffer.from(data);
  copy[copy.length - 3]! ^= 4;
  return copy;
}

/** What `promise` rejects with. */
export function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => expect.unreachable('it succeeded'),
    (error: unknown) => error,
  );
}
