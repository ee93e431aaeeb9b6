import type { Bus } from '@dogwatch/bus/bus.ts';
import type { Control } from '@dogwatch/bus/control.ts';
import { LaneDirectory } from '@dogwatch/bus/lane-directory.ts';
import { createNatsBus } from '@dogwatch/bus/nats-bus.ts';
import { createNatsControl } from '@dogwatch/bus/nats-control.ts';
import { inTime, systemClock } from '@dogwatch/process/clock.ts';
import { createLogger, levelOfVerbosity } from '@dogwatch/process/log.ts';
import { connect } from './nats-connection.ts';
import type { StatusConfig } from './status-config.ts';
import { type Answer, makeReport, memberOf, type StatusReport } from './status-report.ts';
import { renderStatus } from './status-text.ts';

const CONNECT_TIMEOUT_MS = 5_000;
/** For one process to answer; all are asked at once. Longer than members take to renew their entries. */
const ANSWER_TIMEOUT_MS = 2_000;

/** Prints what the processes of the distributed form say of themselves. Rejects with errors that say what to do. */
export async function showStatus(config: StatusConfig, out: (text: string) => void): Promise<void> {
  const clock = systemClock;
  const prefix = config.natsPrefix;
  const log = createLogger({
    level: config.v > 2 ? levelOfVerbosity(config.v) : 'error',
    pretty: process.stderr.isTTY,
  });
  const port = await connect(config, 'dogwatch status', CONNECT_TIMEOUT_MS);
  const bus = createNatsBus({ port, clock, log, prefix });
  try {
    const control = await createNatsControl({ port, clock, log, prefix, timeoutMs: CONNECT_TIMEOUT_MS });
    try {
      const report = await collect(control, bus);
      out(config.o === 'json' ? `${JSON.stringify(report, null, 2)}\n` : renderStatus(report, clock.wall()));
    } finally {
      await control.close();
    }
  } finally {
    await bus.close();
  }
}

async function collect(control: Control, bus: Bus): Promise<StatusReport> {
  const before = control.entries('member/');
  const names = [...before.keys()].map((key) => memberOf(key).name);
  const answers = new Map<string, Answer>();
  await Promise.all(
    names.map(async (name) => {
      const answer = await answerOf(bus, name);
      if (answer !== undefined) answers.set(name, answer);
    }),
  );
  const directory = new LaneDirectory(control);
  return makeReport({
    before,
    after: control.entries('member/'),
    lanes: directory.lanes(),
    leaderOf: (lane) => directory.leaderOf(lane),
    answers,
  });
}

/** Undefined if it does not answer in time: that is what the operator wants to see, not an error. */
async function answerOf(bus: Bus, name: string): Promise<Answer | undefined> {
  return await inTime(
    bus.request('status', {}, name).catch(() => undefined),
    systemClock,
    ANSWER_TIMEOUT_MS,
  );
}
