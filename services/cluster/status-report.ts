import type { ControlEntry } from '@dogwatch/bus/control.ts';
import type { OpenLane } from '@dogwatch/bus/lane-directory.ts';
import { ownersOf } from '@dogwatch/bus/ownership.ts';
import { laneKey } from '@dogwatch/kube/lane.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { groupResource } from './partition-option.ts';

/** A process, as the control table has it and as it answered. */
export interface MemberStatus {
  readonly role: string;
  readonly name: string;
  readonly version: string;
  /** RFC 3339. */
  readonly started: string;
  /** `gone`: it neither answers nor renews its entry. */
  readonly state: 'running' | 'not answering' | 'gone';
}

export interface LaneStatus {
  readonly lane: string;
  /** RESOURCE or RESOURCE.GROUP. */
  readonly resource: string;
  readonly version: string;
  readonly encoding: string;
  readonly view: string;
  readonly partitions: number;
  /** "" where nobody leads. */
  readonly leader: string;
  readonly epoch: number;
  /** Everything up to this resource version was published. */
  readonly watermark: number;
}

/** A partition at one shard that owns it, or still holds it. Numbers are missing where the shard does not say. */
export interface PartitionStatus {
  readonly lane: string;
  readonly partition: number;
  readonly shard: string;
  readonly owner: boolean;
  readonly watermark: number | undefined;
  /** Resource versions behind what its leader has published. */
  readonly lag: number | undefined;
  readonly objects: number | undefined;
  readonly bytes: number | undefined;
}

export interface FanoutStatus {
  readonly name: string;
  /** Lanes of which it holds a copy. */
  readonly copies: number | undefined;
  readonly watches: number | undefined;
  readonly connections: number | undefined;
}

/** What `dogwatch status -o json` prints. */
export interface StatusReport {
  readonly lanes: readonly LaneStatus[];
  readonly partitions: readonly PartitionStatus[];
  readonly fanouts: readonly FanoutStatus[];
  readonly members: readonly MemberStatus[];
}

/** What a process answered: whatever its version has to say. */
export type Answer = Readonly<Record<string, unknown>>;

export interface Findings {
  /** Entries under `member/` before and after the members were asked. */
  readonly before: ReadonlyMap<string, ControlEntry>;
  readonly after: ReadonlyMap<string, ControlEntry>;
  readonly lanes: readonly OpenLane[];
  readonly leaderOf: (lane: { readonly group: string; readonly resource: string }) => string | undefined;
  /** By member name; those that did not answer are missing. */
  readonly answers: ReadonlyMap<string, Answer>;
}

/** Roles as they are shown: in the direction events flow. */
const ORDER: readonly string[] = ['ingest', 'shard', 'fanout'];

/** Puts together what the control table and the processes say. */
export function makeReport(findings: Findings): StatusReport {
  const members = [...findings.before]
    .map(([key, entry]) => memberStatus(key, entry, findings))
    .toSorted((a, b) => compare(`${ORDER.indexOf(a.role)} ${a.name}`, `${ORDER.indexOf(b.role)} ${b.name}`));
  const open = findings.lanes.toSorted((a, b) => compare(laneKey(a.lane), laneKey(b.lane)));
  const lanes = open.map((its) => laneStatus(its, findings));
  const shards = members.filter(({ role, state }) => role === 'shard' && state !== 'gone').map(({ name }) => name);
  return {
    lanes,
    partitions: open.flatMap((its, i) => partitionsOf(its, lanes[i]!, { shards, findings })),
    fanouts: members
      .filter(({ role, state }) => role === 'fanout' && state !== 'gone')
      .map(({ name }) => fanoutStatus(name, findings.answers.get(name))),
    members,
  };
}

/** Role and name in the key of a member's entry. */
export function memberOf(key: string): { role: string; name: string } {
  const [, role = '', name = ''] = key.split('/');
  return { role, name };
}

function memberStatus(key: string, entry: ControlEntry, { after, answers }: Findings): MemberStatus {
  const { role, name } = memberOf(key);
  const { started = 0, version = '' } = entry.value as { started?: number; version?: string };
  const renewed = after.get(key) !== undefined && after.get(key)?.version !== entry.version;
  const state = answers.has(name) ? 'running' : renewed ? 'not answering' : 'gone';
  return { role, name, version, started: new Date(started).toISOString(), state };
}

function laneStatus(open: OpenLane, { leaderOf, answers }: Findings): LaneStatus {
  const { lane, partitions, epoch, rv } = open;
  const key = laneKey(lane);
  const leader = leaderOf(lane) ?? '';
  const told = listOf(answers.get(leader), 'lanes').find((it) => it['lane'] === key);
  return {
    lane: key,
    resource: groupResource(lane),
    version: lane.version,
    encoding: lane.encoding,
    view: lane.view,
    partitions,
    leader,
    epoch: numberOf(told, 'epoch') ?? epoch,
    watermark: numberOf(told, 'rv') ?? rv,
  };
}

function partitionsOf(
  open: OpenLane,
  { lane, watermark: published }: LaneStatus,
  { shards, findings }: { readonly shards: readonly string[]; readonly findings: Findings },
): PartitionStatus[] {
  return Array.from({ length: open.partitions }, (_, partition) => {
    const owners = ownersOf(trackOf(open.lane, partition), shards);
    const held = new Map(
      shards.map((shard) => {
        const told = listOf(findings.answers.get(shard), 'partitions');
        return [shard, told.find((it) => it['lane'] === lane && it['partition'] === partition)];
      }),
    );
    const others = shards.filter((shard) => !owners.includes(shard) && held.get(shard) !== undefined);
    return [...owners, ...others].map((shard): PartitionStatus => {
      const told = held.get(shard);
      const watermark = numberOf(told, 'watermark');
      return {
        lane,
        partition,
        shard,
        owner: owners.includes(shard),
        watermark,
        // The shard may have been asked after the leader.
        lag: watermark === undefined ? undefined : Math.max(0, published - watermark),
        objects: numberOf(told, 'objects'),
        bytes: numberOf(told, 'bytes'),
      };
    });
  }).flat();
}

function fanoutStatus(name: string, answer: Answer | undefined): FanoutStatus {
  return {
    name,
    copies: answer === undefined ? undefined : listOf(answer, 'copies').length,
    watches: numberOf(answer, 'watches'),
    connections: numberOf(answer, 'connections'),
  };
}

function numberOf(answer: Answer | undefined, key: string): number | undefined {
  const value = answer?.[key];
  return typeof value === 'number' ? value : undefined;
}

function listOf(answer: Answer | undefined, key: string): readonly Answer[] {
  const value = answer?.[key];
  return Array.isArray(value) ? value.filter((item) => typeof item === 'object' && item !== null) : [];
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
