import { eventText } from './excerpt.ts';
import { type Grant, isObject, type ObjectEvent } from './recorded.ts';
import type { Reference } from './reference.ts';
import type { StreamView } from './stream-view.ts';
import type { Finding } from './violation.ts';

/** The log of rights, and how long after a right was taken away an open watch may go on. */
export interface Rights {
  readonly grants: readonly Grant[];
  readonly graceMs: number;
}

/** I7: who was delivered an object could read it then, or could until `graceMs` before. */
export function checkLeak(view: StreamView, reference: Reference, { grants, graceMs }: Rights): Finding[] {
  const { stream } = view;
  const its = grants.filter(({ identity }) => identity === stream.identity);
  return [...stream.events.entries()].flatMap(([index, event]) => {
    if (!isObject(event)) return [];
    const time = stream.times[index] ?? 0;
    if (its.some((grant) => covers(grant, event) && grant.from <= time && time <= grant.to + graceMs)) return [];
    const detail = `${eventText(event)} was shown to ${stream.identity ?? 'nobody known'}, who could not read it`;
    return [{ detail, at: [index], origins: [reference.originOf(event) ?? reference.firstAbove(event.rv)] }];
  });
}

function covers({ namespace, name }: Grant, { key }: ObjectEvent): boolean {
  const [itsName = '', itsNamespace] = key.split('/').toReversed();
  return (namespace === undefined || namespace === itsNamespace) && (name === undefined || name === itsName);
}
