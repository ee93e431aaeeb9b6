import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadServingCertificate } from '@dogwatch/fanout/serving-certificate.ts';
import { systemClock } from '@dogwatch/process/clock.ts';
import { runAll, type Service } from '@dogwatch/process/lifecycle.ts';
import type { Environment } from '@dogwatch/process/options.ts';
import { ChildService, type Serving } from './child-service.ts';
import { takeDataDir } from './data-dir.ts';
import type { LocalConfig } from './local-config.ts';
import { findNatsServer, planNats } from './local-nats.ts';
import { COPIES, type LocalFiles, localFiles, type MemberPlan, planMember, ROLES } from './local-plan.ts';
import { renderTopology } from './local-topology.ts';
import type { Role } from './member-options.ts';

export interface LocalRun {
  readonly signal: AbortSignal;
  readonly env: Environment;
  readonly out: (text: string) => void;
  /** The script of the dogwatch command. */
  readonly main: URL;
}

/**
 * The distributed form as processes of this machine, until `signal` aborts; fan-outs stop first, NATS last. Rejects
 * with NatsServerMissing, DataDirUnusable, and with ChildFailed once all are stopped because one of them ended.
 */
export async function runLocalCluster(config: LocalConfig, run: LocalRun): Promise<void> {
  const files = localFiles({ ...config, dataDir: resolve(config.dataDir) });
  const binary = findNatsServer(config.natsServerBin, run.env);
  const giveBack = await takeDataDir(files.dataDir);
  try {
    // Made before the fan-outs start, so that both serve with the same.
    await loadServingCertificate({ certDir: files.certDir, names: [], now: systemClock.wall() });
    const plan = await planNats({ binary, dataDir: files.dataDir, logFile: files.log('nats-0'), env: run.env });
    const nats = new ChildService(plan, systemClock);
    run.out(`starting nats-server and ${COPIES} each of ${ROLES.join(', ')}; logs are in ${files.dataDir}\n`);
    await runAll([[members(config, { run, files, nats })], [nats]], run.signal);
    run.out('stopped\n');
  } finally {
    await giveBack();
  }
}

/** Everything but NATS, which has to serve before. */
function members(config: LocalConfig, of: { run: LocalRun; files: LocalFiles; nats: ChildService }): Service {
  const { run, files, nats } = of;
  return {
    async run(signal) {
      const serving = await unlessStopped(nats.serving, signal);
      if (serving === undefined) return;
      const natsServer = `127.0.0.1:${serving.ports['client']}`;
      const ranks = ROLES.map((role) =>
        Array.from({ length: COPIES }, (_, index) => {
          const { name, env } = planMember(role, index, { config, files, natsServer, env: run.env });
          return member({ role, name, env }, run, files.log(name));
        }),
      );
      const announce = announcement([nats, ...ranks.flat()], { run, files });
      await runAll([[announce], ...ranks.toReversed()], signal);
    },
  };
}

function member({ role, name, env }: MemberPlan, { main }: LocalRun, logFile: string): ChildService {
  return new ChildService(
    { name, script: fileURLToPath(main), args: [role], env, logFile, probe: probeMember },
    systemClock,
  );
}

/** A dogwatch serves when its log says so: {"msg":"serving","port":…,"adminPort":…}. */
async function probeMember(pid: number, logFile: string): Promise<Serving | undefined> {
  const log = await readFile(logFile, 'utf8');
  const line = log.split('\n').find((text) => text.endsWith('}') && text.includes('"msg":"serving"'));
  if (line === undefined) return undefined;
  const { port, adminPort } = JSON.parse(line) as { port?: number; adminPort: number };
  return { pid, ports: { ...(port === undefined ? {} : { https: port }), admin: adminPort } };
}

function announcement(children: readonly ChildService[], of: { run: LocalRun; files: LocalFiles }): Service {
  return {
    async run(signal) {
      const all = await unlessStopped(Promise.all(children.map(({ serving }) => serving)), signal);
      if (all === undefined) return;
      const processes = children.map(({ name }, i) => {
        const role = name.split('-')[0] as Role | 'nats';
        return { role, name, logFile: of.files.log(name), ...all[i]! };
      });
      of.run.out(renderTopology(processes, of.files.kubeconfig));
    },
  };
}

/** Undefined once `signal` aborts, and where a process does not begin to serve: its own `run` says why. */
async function unlessStopped<T>(serving: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  if (signal.aborted) return undefined;
  const stopped = new Promise<undefined>((resolve) => {
    signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  return await Promise.race([serving.catch(() => undefined), stopped]);
}
