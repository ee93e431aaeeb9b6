import type { Check } from './health.ts';
import type { Service } from './lifecycle.ts';
import type { Log } from './log.ts';

/**
 * Says that a process serves: in one line of log, with the fields `serving` resolves with, and from then on in a check
 * of /readyz. `serving` resolves with undefined where something does not listen, which says itself why.
 */
export function createAnnouncement(
  log: Log,
  serving: () => Promise<Readonly<Record<string, unknown>> | undefined>,
): Service & Check {
  let said = false;
  return {
    name: 'serving',
    check: () => (said ? undefined : 'not listening yet'),
    async run() {
      const fields = await serving();
      if (fields === undefined) return;
      said = true;
      log.info(fields, 'serving');
    },
  };
}
