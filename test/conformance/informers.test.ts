import { afterAll, beforeAll, expect, test } from 'vitest';
import { assetPath } from '../support/assets.ts';
import { recordClaim } from '../support/claims.ts';
import { run } from '../support/command.ts';
import { Stage } from './stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await Stage.start({ components: ['etcd', 'kube-apiserver', 'kube-controller-manager'] });
});

afterAll(() => stage?.stop());

interface Report {
  readonly writes: number;
  readonly informers: number;
  readonly events: number;
  readonly backwards: number;
  readonly differences: Readonly<Record<string, readonly string[]>>;
  readonly errorEvents: number;
  readonly http410: number;
}

test('typed, dynamic and metadata-only informers come to equal a direct LIST after a minute of random writes', async () => {
  const { code, stdout, stderr } = await run(
    assetPath('informers'),
    [
      'verify',
      `--kubeconfig=${await stage.kubeconfig('admin')}`,
      `--direct-kubeconfig=${await stage.plane.kubeconfig('admin')}`,
      '--duration=60s',
      '--settle=30s',
      '--writers=4',
    ],
    { env: { KUBE_WATCHLIST_INCONSISTENCY_DETECTOR: 'true' }, timeoutMs: 200_000 },
  );
  expect(code, `${stderr.slice(-4_000)}${stdout.toString().slice(-2_000)}`).toBe(0);
  const report = JSON.parse(stdout.toString()) as Report;
  recordClaim('informers', { informers: report.informers, writes: report.writes, events: report.events });
  expect(report).toMatchObject({ informers: 29, backwards: 0, differences: {}, errorEvents: 0, http410: 0 });
  expect(report.writes).toBeGreaterThan(1_000);
  expect(report.events).toBeGreaterThan(report.writes);
});
