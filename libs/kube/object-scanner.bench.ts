/** Prints what the scans of one event cost: `node libs/kube/object-scanner.bench.ts`. Nothing is asserted. */
import { readFileSync } from 'node:fs';
import type { FieldPath } from './field-path.ts';
import { createFrameScanner } from './frame-scanner.ts';
import type { Encoding } from './lane.ts';
import { scanField, scanLabels, scanObject } from './object-scanner.ts';
import { parseWatchFrame } from './watch-event.ts';

const ROUNDS = 5;
const CALLS = 100_000;
const NODE_NAME: FieldPath = {
  json: ['spec', 'nodeName'],
  protobuf: [
    { field: 2, type: 'message' },
    { field: 10, type: 'string' },
  ],
};

function lastEvent(resource: string, encoding: Encoding): Buffer {
  const frames: Buffer[] = [];
  const bytes = readFileSync(new URL(`./testdata/${resource}-watch-${encoding}.raw`, import.meta.url));
  createFrameScanner(encoding).push(bytes, (frame) => frames.push(frame));
  return frames.findLast((frame) => parseWatchFrame(encoding, frame).type !== 'BOOKMARK') as Buffer;
}

/** Nanoseconds of one call, in the best round. */
function cost(work: () => unknown): number {
  const rounds = Array.from({ length: ROUNDS }, () => {
    const begin = process.hrtime.bigint();
    for (let call = 0; call < CALLS; call++) work();
    return Number(process.hrtime.bigint() - begin) / CALLS;
  });
  return Math.round(Math.min(...rounds));
}

for (const resource of ['leases', 'pods', 'widgets']) {
  for (const encoding of resource === 'widgets' ? (['json'] as const) : (['json', 'protobuf'] as const)) {
    const frame = lastEvent(resource, encoding);
    const { object } = parseWatchFrame(encoding, frame);
    const nanoseconds = {
      parseWatchFrame: cost(() => parseWatchFrame(encoding, frame)),
      scanObject: cost(() => scanObject(encoding, object)),
      scanLabels: cost(() => scanLabels(encoding, object)),
      scanField: cost(() => scanField(encoding, object, NODE_NAME)),
    };
    const costs = Object.entries(nanoseconds).map(([name, value]) => `${name} ${value} ns`);
    process.stdout.write(`${resource} ${encoding}, ${frame.length} bytes: ${costs.join(', ')}\n`);
  }
}
