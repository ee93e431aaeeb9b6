import { connectNats, type NatsPort } from '@dogwatch/bus/nats-port.ts';
import { checkpointStreamName, checkpointSubject, DEFAULT_SUBJECT_PREFIX } from '@dogwatch/bus/nats-subject.ts';
import { eventually } from './eventually.ts';
import type { NatsServers } from './nats-server.ts';

/** What JetStream answers to the requests made here. */
interface StreamAnswer {
  readonly streams?: readonly {
    readonly config: { readonly name: string };
    readonly cluster?: { readonly leader?: string };
  }[];
  readonly state?: { readonly subjects?: Readonly<Record<string, number>> };
  readonly error?: { readonly description: string };
}

const REQUEST_TIMEOUT_MS = 2_000;
const ANSWER_TIMEOUT_MS = 30_000;

/** The server that leads the most streams; a lone server has no leader to name and is named itself. */
export function streamLeader(nats: NatsServers): Promise<string> {
  return withPort(nats, async (port) => {
    const { streams = [] } = await listStreams(port);
    const led = Map.groupBy(streams, ({ cluster }) => cluster?.leader ?? nats.first.name);
    const [most] = [...led].toSorted(([, a], [, b]) => b.length - a.length);
    return most?.[0] ?? nats.first.name;
  });
}

/** How many tracks have a checkpoint that is whole. */
export function checkpointedTracks(nats: NatsServers): Promise<number> {
  return withPort(nats, async (port) => {
    const subject = `$JS.API.STREAM.INFO.${checkpointStreamName(DEFAULT_SUBJECT_PREFIX)}`;
    const wholes = checkpointSubject(DEFAULT_SUBJECT_PREFIX, '>');
    const { state } = await call(port, subject, { subjects_filter: wholes.replace(/[^.]*$/, '>') });
    return Object.keys(state?.subjects ?? {}).length;
  });
}

/** Deletes every stream, key-value buckets and object stores included; returns their names. */
export function wipeStreams(nats: NatsServers): Promise<string[]> {
  return withPort(nats, async (port) => {
    const { streams = [] } = await listStreams(port);
    const names = streams.map(({ config }) => config.name);
    for (const name of names) await call(port, `$JS.API.STREAM.DELETE.${name}`);
    return names;
  });
}

async function withPort<T>(nats: NatsServers, use: (port: NatsPort) => Promise<T>): Promise<T> {
  const port = await connectNats({ servers: nats.addresses, name: 'test', timeoutMs: ANSWER_TIMEOUT_MS });
  try {
    return await use(port);
  } finally {
    await port.close(1_000);
  }
}

/** Asked until JetStream answers: while it elects its own leader nobody does. */
function listStreams(port: NatsPort): Promise<StreamAnswer> {
  const wait = { what: 'JetStream lists its streams', timeoutMs: ANSWER_TIMEOUT_MS };
  return eventually(wait, () => call(port, '$JS.API.STREAM.LIST'));
}

async function call(port: NatsPort, subject: string, body: object = {}): Promise<StreamAnswer> {
  const { data } = await port.request(subject, Buffer.from(JSON.stringify(body)), { timeoutMs: REQUEST_TIMEOUT_MS });
  const answer = JSON.parse(data.toString()) as StreamAnswer;
  if (answer.error !== undefined) throw new Error(`${subject}: ${answer.error.description}`);
  return answer;
}
