import { resolveConfig } from '@dogwatch/process/config.ts';
import type { Environment } from '@dogwatch/process/options.ts';
import { describe, expect, test } from 'vitest';
import { fanoutOptions } from './fanout-config.ts';
import { ingestOptions } from './ingest-config.ts';
import { localOptions } from './local-config.ts';
import { localFiles, planMember, ROLES } from './local-plan.ts';
import { renderTopology } from './local-topology.ts';
import { shardOptions } from './shard-config.ts';

const TABLES = { ingest: ingestOptions, shard: shardOptions, fanout: fanoutOptions };

function plan(role: 'ingest' | 'shard' | 'fanout', index: number, env: Environment = {}) {
  const argv = ['--local', '--data-dir=/data', '--kubeconfig=/k', '-v=5'];
  const { config } = resolveConfig(localOptions, { argv, env: { HOME: '/home/a' } });
  return planMember(role, index, { config, files: localFiles(config), natsServer: '127.0.0.1:4222', env });
}

describe('the configuration of a process', () => {
  test.each(ROLES)('is one that %s takes', (role) => {
    const { name, env } = plan(role, 1, { HOME: '/home/a' });
    const { config } = resolveConfig(TABLES[role], { argv: [], env });
    expect(config).toMatchObject({
      name: `${role}-1`,
      natsServers: ['127.0.0.1:4222'],
      natsReplicas: 1,
      adminAddress: '127.0.0.1',
      adminPort: 0,
      logFormat: 'json',
      v: 5,
    });
    expect(name).toBe(`${role}-1`);
  });

  test('fan-outs share a certificate, and the first leads kubectl to itself', () => {
    const [first, second] = [0, 1].map((index) => plan('fanout', index).env);
    expect(first).toMatchObject({
      DOGWATCH_CERT_DIR: '/data/certs',
      DOGWATCH_WRITE_KUBECONFIG: '/data/dogwatch.kubeconfig',
    });
    expect(second).toMatchObject({ DOGWATCH_CERT_DIR: '/data/certs' });
    expect(second).not.toHaveProperty('DOGWATCH_WRITE_KUBECONFIG');
  });

  test('shards have no way upstream', () => {
    expect(plan('ingest', 0).env).toHaveProperty('DOGWATCH_KUBECONFIG', '/k');
    expect(plan('shard', 0).env).not.toHaveProperty('DOGWATCH_KUBECONFIG');
  });

  test('inherits the environment, and of the variables of dogwatch those that are its own', () => {
    const env = {
      PATH: '/bin',
      DOGWATCH_PARTITIONS: 'pods=2',
      DOGWATCH_WINDOW_BYTES: '1Mi',
      DOGWATCH_DATA_DIR: '/elsewhere',
      DOGWATCH_CONFIG: '/cluster.json',
      DOGWATCH_NAME: 'me',
    };
    expect(plan('ingest', 0, env).env).toMatchObject({
      PATH: '/bin',
      DOGWATCH_PARTITIONS: 'pods=2',
      DOGWATCH_NAME: 'ingest-0',
    });
    for (const name of ['DOGWATCH_WINDOW_BYTES', 'DOGWATCH_DATA_DIR', 'DOGWATCH_CONFIG']) {
      expect(plan('ingest', 0, env).env).not.toHaveProperty(name);
    }
    expect(plan('shard', 0, env).env).toHaveProperty('DOGWATCH_WINDOW_BYTES', '1Mi');
    expect(plan('ingest', 0).env).toHaveProperty('DOGWATCH_LOG_BYTES', '64Mi');
    expect(plan('ingest', 0, { DOGWATCH_LOG_BYTES: '1Gi' }).env).toHaveProperty('DOGWATCH_LOG_BYTES', '1Gi');
  });
});

test('the topology shows who is where, and what to type', () => {
  const processes = [
    { role: 'nats', name: 'nats-0', pid: 7, ports: { client: 4222, monitor: 8222 }, logFile: '/data/nats-0.log' },
    { role: 'fanout', name: 'fanout-0', pid: 8, ports: { https: 6443, admin: 6480 }, logFile: '/data/fanout-0.log' },
  ];
  expect(renderTopology(processes, '/data/dogwatch.kubeconfig').split('\n')).toEqual([
    'ROLE     NAME       PID   PORTS                       LOG',
    'nats     nats-0     7     client 4222, monitor 8222   /data/nats-0.log',
    'fanout   fanout-0   8     https 6443, admin 6480      /data/fanout-0.log',
    '',
    'serving; Ctrl-C stops all',
    '  kubectl --kubeconfig /data/dogwatch.kubeconfig get pods --all-namespaces --watch',
    '',
  ]);
});
