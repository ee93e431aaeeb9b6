import type { LaneRequestKind } from './bus.ts';

/** A resource whatever its version: one log. */
export interface LogResource {
  readonly group: string;
  readonly resource: string;
}

/** Subjects that dogwatches on one NATS account must not share begin with this; one token or several. */
export const DEFAULT_SUBJECT_PREFIX = 'dogwatch';

/** Where the envelopes of a track go live: `PREFIX.live.TRACK`, a token for each `/` part of the track. */
export function liveSubject(prefix: string, track: string): string {
  return `${prefix}.live.${subjectTokens(track)}`;
}

/** Where requests of one kind to one process go: `PREFIX.request.KIND.to.NAME`; without a name to any of them. */
export function requestSubject(prefix: string, kind: LaneRequestKind, to: string | undefined): string {
  return `${prefix}.request.${kind}.${to === undefined ? 'any' : `to.${subjectToken(to)}`}`;
}

/** `a/b.c` as `a.b_c`: no two paths have the same tokens. */
function subjectTokens(path: string): string {
  return path.split('/').map(subjectToken).join('.');
}

/** Name of the stream that holds the log of a resource, all its lanes and partitions. */
export function streamName(prefix: string, { group, resource }: LogResource): string {
  return [prefix, groupName(group), resource].map(subjectToken).join('__');
}

/** All subjects of a resource's log. */
export function logSubjects(prefix: string, { group, resource }: LogResource): string {
  return `${prefix}.log.${subjectToken(groupName(group))}.${subjectToken(resource)}.>`;
}

/** Where the envelopes of a track are appended; `fence`: where leaderships over it are. */
export function logSubject(prefix: string, resource: LogResource, track: string, fence = false): string {
  return `${logSubjects(prefix, resource).slice(0, -1)}${fence ? 'fence' : 'data'}.${subjectTokens(track)}`;
}

/** Name of the stream that holds the control table. */
export function controlStreamName(prefix: string): string {
  return `${subjectToken(prefix)}__control`;
}

/** Where the entry of a key is put: `PREFIX.control.KEY`, a token for each `/` part of the key. */
export function controlSubject(prefix: string, key: string): string {
  return `${prefix}.control.${subjectTokens(key)}`;
}

/** Name of the stream that holds the checkpoints of all tracks. */
export function checkpointStreamName(prefix: string): string {
  return `${subjectToken(prefix)}__checkpoints`;
}

/** Where it is told which checkpoint of a track is whole, or, with `id`, where the pages of one are. */
export function checkpointSubject(prefix: string, track: string, id?: string): string {
  const tokens = subjectTokens(track);
  return id === undefined ? `${prefix}.checkpoint.whole.${tokens}` : `${prefix}.checkpoint.pages.${tokens}.${id}`;
}

/** As in a lane's key. */
function groupName(group: string): string {
  return group === '' ? 'core' : group;
}

/**
 * Any text as one token of a subject or of a stream's name, neither of which may hold `.`, `*`, `>`, `/`, `\` or white
 * space. `.`, which every API group but the core has, becomes `_`; the rest is encoded as in a URL with `=` for `%`,
 * which the server's own formatting would stumble over. Different texts stay different; "" is `=`.
 */
export function subjectToken(text: string): string {
  if (text === '') return '=';
  return encodeURIComponent(text)
    .replaceAll('_', '%5F')
    .replaceAll('*', '%2A')
    .replaceAll('.', '_')
    .replaceAll('%', '=');
}
