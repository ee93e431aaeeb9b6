import { SyntaxProblem } from '@dogwatch/process/quantity.ts';

const PARTITIONS_MAX = 64;
const LABEL = '[a-z0-9](?:[a-z0-9-]*[a-z0-9])?';
const PARTITION = new RegExp(String.raw`^(?<resource>${LABEL}(?:\.${LABEL})*)=(?<count>\d{1,4})$`);

/** Partitions by resource, see `groupResource`. */
export type Partitions = ReadonlyMap<string, number>;

/** `RESOURCE.GROUP`, and in the core group `RESOURCE`. */
export function groupResource({ group, resource }: { readonly group: string; readonly resource: string }): string {
  return group === '' ? resource : `${resource}.${group}`;
}

/** Reads items of the form RESOURCE[.GROUP]=N. Throws SyntaxProblem, also where a resource is named twice. */
export function parsePartitions(items: readonly string[]): Partitions {
  const partitions = new Map<string, number>();
  for (const item of items) {
    const [resource, count] = parsePartition(item);
    if (partitions.has(resource)) throw new SyntaxProblem(`has ${resource} twice`);
    partitions.set(resource, count);
  }
  return partitions;
}

export function checkPartition(item: string): void {
  parsePartition(item);
}

function parsePartition(item: string): [resource: string, count: number] {
  const { resource, count } = PARTITION.exec(item)?.groups ?? {};
  if (resource === undefined || count === undefined) {
    throw new SyntaxProblem(
      `${JSON.stringify(item)} is not RESOURCE=N such as pods=4 or leases.coordination.k8s.io=16`,
    );
  }
  if (resource === 'events' || resource === 'events.events.k8s.io') {
    throw new SyntaxProblem(
      `${resource} cannot be partitioned: one version can carry many events, and they are one unit`,
    );
  }
  const number = Number(count);
  if (number >= 1 && number <= PARTITIONS_MAX) return [resource, number];
  throw new SyntaxProblem(`${item} is not between 1 and ${PARTITIONS_MAX} partitions`);
}
