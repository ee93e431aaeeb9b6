import type { StatusReport } from './status-report.ts';
import { renderTable } from './text-table.ts';

const MEBIBYTE = 1024 * 1024;
/** What stands for a number nobody told. */
const UNKNOWN = '-';

/** The report as tables for a person; `now` is milliseconds since 1970. */
export function renderStatus(report: StatusReport, now: number): string {
  const tables = [
    renderTable(
      ['LANE', 'PARTITIONS', 'LEADER', 'EPOCH', 'WATERMARK'],
      report.lanes.map(({ lane, partitions, leader, epoch, watermark }) => [
        lane,
        String(partitions),
        leader === '' ? UNKNOWN : leader,
        String(epoch),
        String(watermark),
      ]),
    ),
    renderTable(
      ['LANE', 'PARTITION', 'SHARD', 'OWNER', 'WATERMARK', 'LAG', 'OBJECTS', 'SIZE'],
      report.partitions.map(({ lane, partition, shard, owner, watermark, lag, objects, bytes }) => [
        lane,
        String(partition),
        shard,
        owner ? 'yes' : 'no',
        number(watermark),
        number(lag),
        number(objects),
        bytes === undefined ? UNKNOWN : `${(bytes / MEBIBYTE).toFixed(1)}Mi`,
      ]),
    ),
    renderTable(
      ['FANOUT', 'COPIES', 'WATCHES', 'CONNECTIONS'],
      report.fanouts.map(({ name, copies, watches, connections }) => [
        name,
        number(copies),
        number(watches),
        number(connections),
      ]),
    ),
    renderTable(
      ['MEMBER', 'ROLE', 'STATE', 'AGE', 'VERSION'],
      report.members.map(({ name, role, state, started, version }) => [
        name,
        role,
        state,
        age(now - Date.parse(started)),
        version,
      ]),
    ),
  ];
  return tables.join('\n');
}

function number(value: number | undefined): string {
  return value === undefined ? UNKNOWN : String(value);
}

const UNITS = [
  { unit: 'd', seconds: 86_400 },
  { unit: 'h', seconds: 3_600 },
  { unit: 'm', seconds: 60 },
] as const;

/** How long ago in the largest whole unit that makes two or more, about as kubectl writes ages. */
function age(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const fit = UNITS.find((it) => seconds >= 2 * it.seconds);
  return fit === undefined ? `${seconds}s` : `${Math.floor(seconds / fit.seconds)}${fit.unit}`;
}
