import type { GroupVersionResource } from '@dogwatch/kube/group-resource.ts';
import type { Encoding, Lane, View } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Control, ControlEntry } from './control.ts';

const PREFIX = 'ingest/';

type GroupResource = Pick<GroupVersionResource, 'group' | 'resource'>;

/** A lane of a resource that is read, as its leader says. */
export interface LaneEntry {
  readonly version: string;
  readonly encoding: Encoding;
  readonly view: View;
  readonly partitions: number;
  readonly epoch: number;
  /** Everything up to here was published. */
  readonly rv: ResourceVersion;
}

/** The control entry of one resource: who leads it, and which of its lanes are read. */
export interface ResourceEntry {
  /** "" if its last leader has gone. */
  readonly holder: string;
  readonly lanes: readonly LaneEntry[];
}

export interface OpenLane extends LaneEntry {
  readonly lane: Lane;
}

/** Key of a resource's control entry. */
export function resourceKey({ group, resource }: GroupResource): string {
  return `${PREFIX}${group === '' ? 'core' : group}/${resource}`;
}

/** The resource of such a key. */
export function resourceOf(key: string): GroupResource {
  const [group = '', resource = ''] = key.slice(PREFIX.length).split('/');
  return { group: group === 'core' ? '' : group, resource };
}

/** Which lanes are read, and by whom, as the control table has it. */
export class LaneDirectory {
  readonly #control: Control;

  constructor(control: Control) {
    this.#control = control;
  }

  /** The ingest that leads the lane's resource, or did last; undefined if none is named. */
  leaderOf(lane: GroupResource): string | undefined {
    const { holder } = entryOf(this.#control.entry(resourceKey(lane)));
    return holder === '' ? undefined : holder;
  }

  /** All lanes that are read. */
  lanes(): readonly OpenLane[] {
    return [...this.#control.entries(PREFIX)].flatMap(([key, seen]) =>
      entryOf(seen).lanes.map((entry) => {
        const { version, encoding, view } = entry;
        return { ...entry, lane: { ...resourceOf(key), version, encoding, view } };
      }),
    );
  }

  /**
   * Calls `listener` whenever any of it has changed but the versions of the lanes, which do with every renewal. Returns
   * how to stop.
   */
  onChange(listener: () => void): () => void {
    const known = new Map<string, string>();
    for (const [key, seen] of this.#control.entries(PREFIX)) known.set(key, identityOf(seen));
    return this.#control.watch(PREFIX, (key, seen) => {
      const identity = identityOf(seen);
      if ((known.get(key) ?? identityOf(undefined)) === identity) return;
      if (seen === undefined) known.delete(key);
      else known.set(key, identity);
      listener();
    });
  }
}

function entryOf(seen: ControlEntry | undefined): ResourceEntry {
  const { holder = '', lanes = [] } = (seen?.value ?? {}) as Partial<ResourceEntry>;
  return { holder, lanes };
}

/** Equal while the same process leads the same histories of the same lanes. */
function identityOf(seen: ControlEntry | undefined): string {
  const { holder, lanes } = entryOf(seen);
  const named = lanes.map(({ version, encoding, view, partitions, epoch }) => [
    version,
    encoding,
    view,
    partitions,
    epoch,
  ]);
  return JSON.stringify([holder, named]);
}
