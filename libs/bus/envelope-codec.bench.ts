/** Prints what an envelope costs for each of its events: `node libs/bus/envelope-codec.bench.ts`. Nothing is asserted. */
import { randomUUID } from 'node:crypto';
import { frameEvent, withResourceVersion } from '@dogwatch/kube/event-framer.ts';
import type { Encoding } from '@dogwatch/kube/lane.ts';
import type { Change } from '@dogwatch/watch/watch-cache.ts';
import { EnvelopeReader, encodeEnvelope } from './envelope-codec.ts';
import type { Envelope } from './envelope.ts';
import { changeOf, podSchema, recordedChanges } from './test-envelopes.ts';

const ROUNDS = 7;
const EVENTS_PER_ROUND = 20_000;
const OPTIONS = { track: 'coordination.k8s.io.leases.json/3', term: 7, sequence: 1, maxPayloadBytes: 2 ** 20 };

/** A recorded lease as that of another node, with a name, a uid and a time of its own. */
function leaseOf(encoding: Encoding, node: number): Change {
  const recorded = recordedChanges('leases', encoding).findLast(({ type }) => type === 'MODIFIED');
  if (recorded === undefined) throw new Error('no lease was recorded');
  const { bytes, name, uid } = recorded.object;
  // Nothing changes its length, for protobuf has lengths in front of all that holds it.
  const text = withResourceVersion(encoding, bytes, 100_000 + node)
    .toString('latin1')
    .replaceAll(name, node.toString(16).padStart(name.length, '0').slice(0, name.length))
    .replace(uid, randomUUID())
    .replace(/\.\d{6}Z/, `.${String(Math.floor(Math.random() * 1e6)).padStart(6, '0')}Z`);
  const frame = frameEvent(encoding, 'MODIFIED', Buffer.from(text, 'latin1'));
  const change = changeOf({ ...podSchema(encoding), indexedField: undefined }, frame);
  if (change === undefined) throw new Error('no change was recorded');
  return change;
}

/** Microseconds of CPU for one event, in the best round. */
function cost(count: number, work: () => unknown): string {
  const calls = Math.ceil(EVENTS_PER_ROUND / count);
  const rounds = Array.from({ length: ROUNDS }, () => {
    const begin = process.hrtime.bigint();
    for (let call = 0; call < calls; call++) work();
    return Number(process.hrtime.bigint() - begin) / 1000 / calls / count;
  });
  return `${Math.min(...rounds).toFixed(2)} µs`;
}

for (const encoding of ['json', 'protobuf'] as const) {
  for (const count of [1, 64, 256]) {
    const changes = Array.from({ length: count }, (_, node) => leaseOf(encoding, node));
    const envelope: Envelope = { kind: 'batch', epoch: 1, batch: { previous: { rv: 99_999, index: 0 }, changes } };
    const frameBytes = changes.reduce((total, { frame }) => total + frame.length, 0) / count;
    for (const compressFromBytes of [2 ** 30, 0]) {
      const options = { ...OPTIONS, compressFromBytes };
      const [part] = encodeEnvelope(envelope, options) as [Buffer];
      const reader = new EnvelopeReader({ clock: { now: () => 0 }, maxPendingBytes: 2 ** 20 });
      const costs = {
        encode: cost(count, () => encodeEnvelope(envelope, options)),
        decode: cost(count, () => reader.read(part)),
      };
      process.stdout.write(
        `${count} ${encoding} leases of ${Math.round(frameBytes)} bytes, zstd ${compressFromBytes === 0 ? 'on' : 'off'}: ` +
          `encode ${costs.encode}, decode ${costs.decode}, ${Math.round(part.length / count)} bytes each\n`,
      );
    }
  }
}
