import { createHash, randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CommandResult } from '../support/command.ts';
import { LineReader } from '../support/line-reader.ts';
import { Kubectl, Stage } from './stage.ts';

const MEGABYTES_10 = 10 << 20;
const input = randomBytes(MEGABYTES_10);

let stage: Stage;

beforeAll(async () => {
  stage = await Stage.start();
  const kubelet = await stage.plane.startChild('kubelet-api', { asset: 'kubelet-api', args: [], pipe: true });
  const { port } = JSON.parse(await new LineReader('kubelet-api', kubelet.stdout).next(10_000)) as { port: number };
  await createPod(port);
});

afterAll(() => stage?.stop());

/** A node whose kubelet is the small one, and a pod on it that looks as if it ran. */
async function createPod(port: number): Promise<void> {
  const { admin } = stage.plane;
  await admin.create('/api/v1/nodes', { metadata: { name: 'echo' } });
  const addresses = [{ type: 'InternalIP', address: '127.0.0.1' }];
  await admin.mergePatch('/api/v1/nodes/echo/status', {
    status: { addresses, daemonEndpoints: { kubeletEndpoint: { Port: port } } },
  });
  const containers = ['main', 'bulk'].map((name) => ({ name, image: 'none', stdin: true }));
  await admin.create('/api/v1/namespaces/default/pods', {
    metadata: { name: 'echo' },
    spec: { nodeName: 'echo', containers },
  });
  const containerStatuses = containers.map(({ name }) => ({
    name,
    image: 'none',
    imageID: 'none',
    ready: true,
    restartCount: 0,
    state: { running: {} },
  }));
  await admin.mergePatch('/api/v1/namespaces/default/pods/echo/status', {
    status: { phase: 'Running', containerStatuses },
  });
}

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** What must be equal between two runs; the verbose log of a run is not. */
function outcome({ code, stdout, stderr }: CommandResult): object {
  return { code, bytes: stdout.length, stdout: digest(stdout), stderr };
}

async function both(env: Record<string, string>): Promise<{ direct: Kubectl; through: Kubectl }> {
  return {
    direct: new Kubectl(await stage.plane.kubeconfig('admin'), env),
    through: new Kubectl(await stage.kubeconfig('admin'), env),
  };
}

describe.each([
  { protocol: 'WebSocket', websockets: 'true', method: 'GET' },
  { protocol: 'SPDY', websockets: 'false', method: 'POST' },
])('$protocol', ({ websockets, method }) => {
  const env = { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: websockets, KUBECTL_PORT_FORWARD_WEBSOCKETS: websockets };
  const exec = (...command: string[]): string[] => ['exec', 'echo', '-c', 'main', '--', ...command];
  const reading = (command: string): string[] => ['exec', '-i', 'echo', '-c', 'main', '--', command];

  test('is what kubectl speaks here', async () => {
    const { through } = await both(env);
    const { code, stderr } = await through.run(['-v=7', ...exec('exit', '0')]);
    expect(code).toBe(0);
    expect(stderr).toMatch(new RegExp(`${method}.*/exec\\?`));
  });

  test.each([
    ['exec echoes 10 MB both ways', reading('cat'), input],
    ['exec answers only after the client has closed its half', reading('sha256sum'), input],
    ['exec sends 10 MB', exec('emit', String(MEGABYTES_10)), ''],
    ['exec keeps stdout and stderr apart', exec('both'), ''],
    ['exec hands on exit code 0', exec('exit', '0'), ''],
    ['exec hands on exit code 7', exec('exit', '7'), ''],
    ['exec of an unknown command', exec('nonsense'), ''],
    ['exec in an unknown container', ['exec', 'echo', '-c', 'absent', '--', 'cat'], ''],
    ['attach echoes 10 MB both ways', ['attach', '-i', 'echo', '-c', 'main', '-q'], input],
    ['attach without stdin', ['attach', 'echo', '-c', 'main', '-q'], ''],
  ])('%s', async (_, args, given) => {
    const { direct, through } = await both(env);
    const [left, right] = [await direct.run(args, { input: given }), await through.run(args, { input: given })];
    expect(outcome(right)).toEqual(outcome(left));
  });

  test('the checks above compare what was meant', async () => {
    const { through } = await both(env);
    expect((await through.run(reading('cat'), { input })).stdout.equals(input)).toBe(true);
    expect((await through.run(reading('sha256sum'), { input })).stdout.toString()).toBe(`${digest(input)}\n`);
    expect(await through.run(exec('exit', '7'))).toMatchObject({ code: 7 });
    expect(await through.run(exec('both'))).toMatchObject({
      code: 0,
      stdout: Buffer.from('to stdout\n'),
      stderr: 'to stderr\n',
    });
    expect((await through.run(['attach', '-i', 'echo', '-c', 'main', '-q'], { input })).stdout.equals(input)).toBe(
      true,
    );
  });

  test('port-forward carries 10 MB both ways, twice at once, and a half-closed connection', async () => {
    const { through } = await both(env);
    const name = `port-forward-${method}`;
    const args = through.arguments(['port-forward', 'pod/echo', ':7', ':9']);
    const child = await stage.plane.startChild(name, {
      asset: 'kubectl',
      args,
      env: { ...process.env, ...env },
      pipe: true,
    });
    const lines = new LineReader(name, child.stdout);
    const port = async (remote: number): Promise<number> => {
      return Number((await lines.until(new RegExp(`127\\.0\\.0\\.1:(\\d+) -> ${remote}$`), 20_000))[1]);
    };
    const [echo, sum] = [await port(7), await port(9)];
    const answers = await Promise.all([talk(echo), talk(echo), talk(sum)]);
    expect(answers.slice(0, 2).map((answer) => answer.equals(input))).toEqual([true, true]);
    expect(answers[2]?.toString()).toBe(`${digest(input)}\n`);
    await child.kill9();
  });
});

/** Sends the input, closes the sending half, and returns all that comes back. */
function talk(port: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('end', () => {
      socket.destroy();
      resolve(Buffer.concat(chunks));
    });
    socket.on('error', reject);
    socket.end(input);
  });
}

describe('logs', () => {
  test.each([
    ['logs', 'echo', '-c', 'main'],
    ['logs', '-f', 'echo', '-c', 'main'],
    ['logs', 'echo', '-c', 'bulk'],
    ['logs', 'echo', '-c', 'absent'],
  ])('%s %s %s %s', async (...args) => {
    const { direct, through } = await both({});
    const command = args.filter((argument) => argument !== undefined);
    const [left, right] = [await direct.run(command), await through.run(command)];
    expect(outcome(right)).toEqual(outcome(left));
  });

  test('logs -f shows a line when it is written, not at the end', async () => {
    const { through } = await both({});
    const args = through.arguments(['logs', '-f', 'echo', '-c', 'main']);
    const child = await stage.plane.startChild('logs', { asset: 'kubectl', args, pipe: true });
    const lines = new LineReader('kubectl logs -f', child.stdout);
    await lines.until(/^line 9 /, 10_000);
    const start = performance.now();
    await lines.until(/^line 29 /, 10_000);
    expect(performance.now() - start).toBeGreaterThan(700); // 20 lines at 50 ms each
    expect(await child.exited).toEqual({ code: 0, signal: null });
  });
});
