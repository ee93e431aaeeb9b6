import { hostname } from 'node:os';
import { type ConfigOf, defineOptions } from '@dogwatch/process/options.ts';
import { processOptions } from '@dogwatch/process/process-options.ts';
import { SyntaxProblem } from '@dogwatch/process/quantity.ts';
import { natsOptions } from './nats-options.ts';

/** What a process of the distributed form can be. */
export type Role = 'ingest' | 'shard' | 'fanout';

const NAME_LENGTH_MAX = 63;

/**
 * Options that `ingest`, `shard` and `fanout` share. The role is part of the default name, so that one machine may run
 * one of each: requests go to a process by its name alone.
 */
export function memberOptions(role: Role) {
  return defineOptions({
    ...natsOptions,
    'nats-replicas': {
      type: 'int',
      default: 3,
      min: 1,
      max: 5,
      placeholder: '1|3|5',
      check: checkReplicas,
      help: 'NATS servers that keep a copy of what dogwatch stores there. With a single server: 1.',
    },
    name: {
      type: 'string',
      placeholder: 'NAME',
      default: { from: () => defaultName(role, hostname()), shown: `${role}-HOSTNAME` },
      check: checkName,
      help: 'Name of this process, which no other process of the same dogwatch may have.',
    },
    ...processOptions,
  });
}

export type MemberConfig = ConfigOf<ReturnType<typeof memberOptions>>;

/** A name of ours made of the first label of a host's. */
export function defaultName(role: Role, host: string): string {
  const label = host.toLowerCase().replace(/\..*$/, '');
  return `${role}-${label.replaceAll(/[^a-z0-9-]/g, '-')}`.slice(0, NAME_LENGTH_MAX).replace(/-+$/, '');
}

function checkReplicas(text: string): void {
  if (!['1', '3', '5'].includes(text)) {
    throw new SyntaxProblem(
      `${text} is not 1, 3 or 5: an even number of copies outlives no more servers than one less`,
    );
  }
}

/** A DNS label (RFC 1123), as names of pods are: it becomes a token of NATS subjects. */
function checkName(text: string): void {
  if (text.length <= NAME_LENGTH_MAX && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(text)) return;
  throw new SyntaxProblem(
    `${JSON.stringify(text)} is not 1 to ${NAME_LENGTH_MAX} lower case letters, digits and inner dashes`,
  );
}
