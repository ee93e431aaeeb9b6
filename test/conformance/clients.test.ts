// Clients in other languages list and watch through dogwatch while there are writes, and see what etcd says there was.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FULL_SIZE, recordClaim } from '../support/claims.ts';
import { lastOf, PacedWriters } from '../support/cluster-writers.ts';
import { eventually } from '../support/eventually.ts';
import { sumOf } from '../support/prometheus-text.ts';
import { check, type ObjectEvent, summarise } from '../support/watch-recorder.ts';
import { type ClientProgram, clientProgram, type Language, LANGUAGES } from './client-programs.ts';
import { RunningClient } from './running-client.ts';
import { NEEDS_DOGWATCH, Stage } from './stage.ts';

const WRITING_MS = FULL_SIZE ? 120_000 : 12_000;
/** Each watch is ended by the server after this, so every client resumes a few times. */
const TIMEOUT_SECONDS = 3;
const INSTALL_TIMEOUT_MS = FULL_SIZE ? 1_000_000 : 250_000;
const NAMESPACE = 'clients';
const COLOURS = ['red', 'green', 'blue'];

const CASES: readonly { readonly language: Language; readonly mode: string; readonly colour?: string }[] = [
  { language: 'python', mode: 'blocking' },
  { language: 'python', mode: 'asyncio', colour: 'red' },
  { language: 'javascript', mode: 'informer' },
  { language: 'javascript', mode: 'informer', colour: 'green' },
  { language: 'rust', mode: 'list-watch', colour: 'blue' },
  { language: 'rust', mode: 'paged' },
  { language: 'rust', mode: 'any' },
  { language: 'rust', mode: 'streaming-list' },
  { language: 'rust', mode: 'streaming-list', colour: 'red' },
  { language: 'rust', mode: 'metadata' },
];

let stage: Stage;
const programs = new Map<Language, ClientProgram>();
const running = new Map<(typeof CASES)[number], RunningClient>();
let history: readonly ObjectEvent[] = [];
let upTo = 0;
/** Watches that dogwatch ended because their time was over. */
let timeouts = 0;

beforeAll(async () => {
  await Promise.all(LANGUAGES.map(async (language) => programs.set(language, await clientProgram(language))));
}, INSTALL_TIMEOUT_MS);

beforeAll(
  async () => {
    stage = await Stage.start({ apiserverFlags: ['--etcd-compaction-interval=0'] });
    const { admin } = stage.plane;
    const seed = Date.now() % 1_000_000;
    console.log(`seed ${seed}`);
    const writers = new PacedWriters({ client: admin, seed, namespaces: [NAMESPACE], colours: COLOURS, everyMs: 10 });
    await writers.createNamespaces();
    await writers.write(20);
    writers.start();
    const kubeconfig = await stage.kubeconfig('admin');
    for (const [index, wanted] of CASES.entries()) {
      const program = programs.get(wanted.language);
      if (program === undefined || program.missing !== undefined) continue;
      const selector = wanted.colour === undefined ? [] : [`colour=${wanted.colour}`];
      const args = [wanted.mode, kubeconfig, NAMESPACE, String(TIMEOUT_SECONDS), ...selector];
      const interest = {
        namespace: NAMESPACE,
        ...(wanted.colour === undefined ? {} : { labels: { colour: wanted.colour } }),
      };
      const name = `client-${index}-${wanted.language}`;
      running.set(wanted, await RunningClient.start(program, { name, args, dir: stage.plane.dir, interest }));
    }
    const clients = [...running.values()];
    await eventually({ what: 'all clients have listed', timeoutMs: 60_000 }, () =>
      clients.every((client) => client.count('SYNCED') > 0),
    );
    await sleep(WRITING_MS);
    await writers.stop();
    const last = lastOf(await writers.touchAll());
    await eventually({ what: 'all clients have seen the last write', timeoutMs: 20_000 }, () =>
      clients.every((client) => client.position >= last(client.stream())),
    ).catch(() => undefined); // what they have not seen is told client by client
    timeouts = sumOf(await stage.metrics(), 'dogwatch_watches_ended_total', { reason: 'timeout' });
    for (const { child } of clients) {
      child.assertAlive();
      await child.kill9();
    }
    upTo = Math.max(0, ...clients.map((client) => last(client.stream())));
    if (upTo > 0) history = await stage.plane.etcd.history('configmaps', 1, upTo);
    const missing = [...programs.values()].flatMap((program) => program.missing ?? []);
    recordClaim('clients', { clients: running.size, writes: writers.written, missing });
  },
  60_000 + WRITING_MS + 120_000,
);

afterAll(() => stage?.stop());

describe.each(CASES)('$language, $mode, selected by colour: $colour', (wanted) => {
  test('sees every change, once and in order, over the ends of its watches', (context) => {
    const missing = programs.get(wanted.language)?.missing;
    context.skip(missing !== undefined, missing);
    const client = running.get(wanted)!;
    const stream = client.stream();
    expect(summarise(check([stream], history, { upTo }), [stream])).toEqual([]);
    expect(stream.events.length).toBeGreaterThan(50);
    expect({ listed: client.count('SYNCED'), listedAnew: client.count('RESTARTED') }).toEqual({
      listed: 1,
      listedAnew: 0,
    });
    // kube-rs resumes without a word; dogwatch counts the ends of all of them below.
    const told = wanted.language === 'rust' ? 0 : 2;
    expect(client.count('RESUMED')).toBeGreaterThanOrEqual(told);
  });
});

test('every client resumed a few times', (context) => {
  context.skip(NEEDS_DOGWATCH !== undefined, NEEDS_DOGWATCH);
  expect(timeouts).toBeGreaterThanOrEqual(2 * running.size);
});
