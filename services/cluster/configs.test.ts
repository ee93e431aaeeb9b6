import { resolveConfig, type ResolvedConfig } from '@dogwatch/process/config.ts';
import type { OptionTable } from '@dogwatch/process/options.ts';
import { describe, expect, test } from 'vitest';
import { checkFanoutConfig, fanoutOptions } from './fanout-config.ts';
import { checkIngestConfig, ingestOptions } from './ingest-config.ts';
import { checkLocalConfig, localOptions } from './local-config.ts';
import { defaultName } from './member-options.ts';
import { checkShardConfig, shardOptions } from './shard-config.ts';

const env = { HOME: '/home/a' };

const configured =
  <Table extends OptionTable, Config>(table: Table, check: (resolved: ResolvedConfig<Table>) => Config) =>
  (...argv: string[]) =>
    check(resolveConfig(table, { argv, env }));
const ingest = configured(ingestOptions, checkIngestConfig);
const shard = configured(shardOptions, checkShardConfig);
const fanout = configured(fanoutOptions, checkFanoutConfig);
const local = configured(localOptions, checkLocalConfig);

test('the defaults go together', () => {
  expect(ingest()).toMatchObject({
    partitions: new Map([
      ['leases.coordination.k8s.io', 16],
      ['pods', 4],
    ]),
    ringBytes: 64 * 2 ** 20,
    logAge: 3_600_000,
    logStorage: 'file',
    maxLanes: 500,
    laneIdleTimeout: 600_000,
    natsPrefix: 'dogwatch',
    natsReplicas: 3,
    adminPort: 6480,
  });
  expect(shard()).toMatchObject({
    windowBytes: 64 * 2 ** 20,
    tombstoneBytes: 16 * 2 ** 20,
    checkpointInterval: 60_000,
  });
  expect(fanout()).toMatchObject({
    securePort: 6443,
    bookmarkInterval: 60_000,
    certDir: '/home/a/.local/state/dogwatch/certs',
  });
  expect(local('--local')).toMatchObject({ dataDir: '/home/a/.local/state/dogwatch/cluster' });
});

test('the default name tells the role, so that one machine may run one of each', () => {
  expect(defaultName('shard', 'Worker-7.Example.com')).toBe('shard-worker-7');
  expect(defaultName('ingest', '')).toBe('ingest');
  expect(defaultName('fanout', `${'a'.repeat(55)}-b`)).toBe(`fanout-${'a'.repeat(55)}`);
});

describe('partitions', () => {
  test('are of resources by their group', () => {
    expect([...ingest('--partitions=pods=1,widgets.example.com=64').partitions]).toEqual([
      ['pods', 1],
      ['widgets.example.com', 64],
    ]);
    expect(ingest('--partitions=').partitions.size).toBe(0);
  });
});

describe('bad input is one line that says what to do', () => {
  test.each([
    [
      ingest,
      '--partitions=events=2',
      '--partitions: events cannot be partitioned: one version can carry many events, and they are one unit',
    ],
    [
      ingest,
      '--partitions=events.events.k8s.io=1',
      '--partitions: events.events.k8s.io cannot be partitioned: one version can carry many events, and they are one unit',
    ],
    [ingest, '--partitions=pods=0', '--partitions: pods=0 is not between 1 and 64 partitions'],
    [ingest, '--partitions=pods=65', '--partitions: pods=65 is not between 1 and 64 partitions'],
    [
      ingest,
      '--partitions=pods',
      '--partitions: "pods" is not RESOURCE=N such as pods=4 or leases.coordination.k8s.io=16',
    ],
    [
      ingest,
      '--partitions=Pods=4',
      '--partitions: "Pods=4" is not RESOURCE=N such as pods=4 or leases.coordination.k8s.io=16',
    ],
    [ingest, '--partitions=pods=4,pods=2', '--partitions has pods twice'],
    [shard, '--nats-servers=nats', '--nats-servers: "nats" is not HOST:PORT such as nats:4222 or [::1]:4222'],
    [
      shard,
      '--nats-servers=nats://a:4222',
      '--nats-servers: "nats://a:4222" is not HOST:PORT such as nats:4222 or [::1]:4222',
    ],
    [
      shard,
      '--nats-servers=a:4222,b:70000',
      '--nats-servers: "b:70000" is not HOST:PORT such as nats:4222 or [::1]:4222',
    ],
    [
      shard,
      '--nats-replicas=2',
      '--nats-replicas: 2 is not 1, 3 or 5: an even number of copies outlives no more servers than one less',
    ],
    [shard, '--nats-prefix=a.b', '--nats-prefix: "a.b" is not 1 to 64 letters, digits, - and _'],
    [shard, '--nats-cert-file=a', '--nats-cert-file and --nats-key-file go together; give the key too'],
    [fanout, '--nats-key-file=a', '--nats-cert-file and --nats-key-file go together; give the certificate too'],
    [fanout, '--tls-cert-file=a', '--tls-cert-file and --tls-private-key-file go together; give the key too'],
    [fanout, '--name=a.b', '--name: "a.b" is not 1 to 63 lower case letters, digits and inner dashes'],
    [fanout, '--name=-a', '--name: "-a" is not 1 to 63 lower case letters, digits and inner dashes'],
    [local, '-v', '"dogwatch cluster up" needs --local; on Kubernetes, install the chart in helm/dogwatch'],
  ])('%# %s', (check: (...argv: string[]) => unknown, argument, message) => {
    expect(() => check(argument)).toThrow(message);
  });
});

test('servers may be names, IPv4 and IPv6 addresses', () => {
  const servers = ['nats-0.nats:4222', '10.0.0.1:1', '[::1]:65535'];
  expect(shard(`--nats-servers=${servers.join(',')}`).natsServers).toEqual(servers);
});
