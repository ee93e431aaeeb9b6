import { type Role, ROLES } from './cluster-member.ts';
import { streamLeader } from './cluster-nats.ts';
import type { DogwatchCluster } from './cluster-process.ts';
import { SeededRandom } from './cluster-random.ts';
import { setTimeout as sleep } from 'node:timers/promises';

/** Whom a kill -9 meets; `nats` is the server that leads the most streams. */
export type Victim = Role | 'nats';

export const VICTIMS: readonly Victim[] = [...ROLES, 'nats'];

export interface Kill {
  readonly victim: Victim;
  /** Which of its role; taken modulo how many there are. */
  readonly index: number;
  /** Waited before the kill, so that it falls into any phase of whatever goes on. */
  readonly delayMs: number;
  /** How long it stays dead. */
  readonly downMs: number;
}

const DELAY_LIMIT_MS = 2_000;
const DOWN_LIMIT_MS = 1_500;

/** `each` kills of every victim in random order. */
export function killPlan(seed: number, each: number): Kill[] {
  const random = new SeededRandom(seed);
  const victims = random.shuffled(VICTIMS.flatMap((victim) => Array.from({ length: each }, () => victim)));
  return victims.map((victim) => ({
    victim,
    index: random.below(1 << 16),
    delayMs: random.below(DELAY_LIMIT_MS),
    downMs: random.below(DOWN_LIMIT_MS),
  }));
}

export interface Killed {
  readonly victim: Victim;
  readonly name: string;
  /** `performance.now()` of the kill. */
  readonly at: number;
  /** From the start of the new process until it was ready. */
  readonly readyMs: number;
}

/** Carries out one kill and brings the victim back. */
export async function killOnce(cluster: DogwatchCluster, kill: Kill): Promise<Killed> {
  await sleep(kill.delayMs);
  const target = kill.victim === 'nats' ? await natsTarget(cluster) : memberTarget(cluster, kill.victim, kill.index);
  const at = performance.now();
  await target.kill9();
  await sleep(kill.downMs);
  const start = performance.now();
  await target.start();
  return { victim: kill.victim, name: target.name, at, readyMs: performance.now() - start };
}

interface Target {
  readonly name: string;
  kill9(): Promise<void>;
  start(): Promise<unknown>;
}

function memberTarget(cluster: DogwatchCluster, role: Role, index: number): Target {
  const members = cluster.members(role);
  const member = members[index % members.length];
  if (member === undefined) throw new Error(`the cluster has no ${role}`);
  return { name: member.name, kill9: () => member.kill9(), start: () => member.restart() };
}

async function natsTarget({ nats }: DogwatchCluster): Promise<Target> {
  const leader = await streamLeader(nats);
  const server = nats.servers.find(({ name }) => name === leader) ?? nats.first;
  return { name: server.name, kill9: () => server.kill9(), start: () => server.start() };
}
