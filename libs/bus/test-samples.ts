// What testdata/messages-vN.json hold, in every version of the format: see testdata/README.md.
import { type KubeObject, kubeObject } from '@dogwatch/kube/kube-object.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { StatusError, tooManyRequests } from '@dogwatch/kube/status.ts';
import { type Change, WHOLE_VERSION } from '@dogwatch/watch/watch-cache.ts';
import type { LaneRequestKind, LaneRequests } from './bus.ts';
import { encodeEnvelope } from './envelope-codec.ts';
import type { Envelope } from './envelope.ts';
import { type Outcome, encodeReply, encodeRequest } from './request-codec.ts';
import { changeOf, podFacts, podSchema } from './test-envelopes.ts';
import { encodeTrackState } from './track-state-codec.ts';
import type { TrackState } from './track-state.ts';

const LANE: Lane = { group: '', version: 'v1', resource: 'pods', encoding: 'json', view: 'object' };

export const SAMPLE_OPTIONS = {
  track: 'core/v1/pods/json/object/3',
  term: 2 ** 33,
  sequence: 5,
  maxPayloadBytes: 1024,
};

function podJson(name: string, rv: number): Buffer {
  const metadata = {
    name,
    namespace: 'default',
    uid: `uid-of-${name}`,
    resourceVersion: String(rv),
    labels: { app: 'ü' },
  };
  return Buffer.from(JSON.stringify({ kind: 'Pod', apiVersion: 'v1', metadata, spec: { nodeName: 'node-1' } }));
}

function pod(name: string, rv: number): KubeObject {
  return kubeObject(podSchema('json'), podJson(name, rv));
}

function change(type: Change['type'], name: string, rv: number): Change {
  return changeOf(
    podSchema('json'),
    Buffer.from(`{"type":"${type}","object":${podJson(name, rv).toString()}}\n`),
  ) as Change;
}

/** Two of them are too short to be compressed, 30 are not. */
function changes(count: number): Change[] {
  const types = ['ADDED', 'MODIFIED', 'DELETED'] as const;
  return Array.from({ length: count }, (_, i) => change(types[i % 3] as Change['type'], `pod-${i}`, 2 ** 40 + i));
}

/** So many that they travel in chunks; their versions go up and down, as in a list. */
function listed(): KubeObject[] {
  return Array.from({ length: 200 }, (_, i) => pod(`pod-${(i * 7919) % 1000}`, 1 + ((i * i * 104_729) % 2 ** 40)));
}

export const SAMPLE_ENVELOPES: Readonly<Record<string, Envelope>> = {
  listing: { kind: 'listing', epoch: 1, facts: podFacts('json'), listing: { rv: 2 ** 41, objects: listed() } },
  'empty listing': {
    kind: 'listing',
    epoch: 2,
    facts: { ...podFacts('protobuf'), bookmark: undefined, warnings: [], layout: 'unstructured' },
    listing: { rv: 0, objects: [] },
  },
  'short batch': { kind: 'batch', epoch: 3, batch: { previous: { rv: 7, index: 2 }, changes: changes(2) } },
  'compressed batch': {
    kind: 'batch',
    epoch: 3,
    batch: { previous: { rv: 2 ** 39, index: WHOLE_VERSION }, changes: changes(30) },
  },
  listed: { kind: 'listed', epoch: 2 ** 33, rv: 2 ** 41 },
  watermark: { kind: 'watermark', epoch: 4, previous: { rv: 2 ** 40, index: 0 }, rv: 2 ** 41 },
  end: { kind: 'end', epoch: 5, end: 'expired' },
};

type Request<K extends LaneRequestKind> = { readonly kind: K; readonly request: LaneRequests[K]['request'] };
type Reply<K extends LaneRequestKind> = { readonly kind: K; readonly outcome: Outcome<K> };

export const SAMPLE_REQUESTS: readonly { [K in LaneRequestKind]: Request<K> }[LaneRequestKind][] = [
  { kind: 'open', request: { lane: LANE } },
  { kind: 'close', request: { lane: LANE } },
  { kind: 'repair', request: { lane: LANE } },
  { kind: 'fence', request: { lane: LANE, inventory: true } },
  { kind: 'backfill', request: { lane: LANE, from: 2 ** 40, to: 2 ** 41 } },
  { kind: 'sync', request: { lane: LANE, partition: 3, from: undefined } },
  {
    kind: 'sync',
    request: { lane: LANE, partition: 0, from: { epoch: 2 ** 33, position: { rv: 2 ** 40, index: WHOLE_VERSION } } },
  },
  {
    kind: 'sync',
    request: {
      lane: LANE,
      partition: 1,
      from: undefined,
      link: { follower: 'fanout-0', replace: true, names: ['a/b'], indexed: ['node-1'] },
    },
  },
  { kind: 'unlink', request: { lane: LANE, partition: 1, follower: 'fanout-0', names: ['a/b'], indexed: [] } },
  { kind: 'status', request: {} },
];

const INVENTORY = { rv: 8, objects: new Map([['default/a', { uid: 'u1', rv: 2 ** 33 }]]) };

export const SAMPLE_REPLIES: readonly { [K in LaneRequestKind]: Reply<K> }[LaneRequestKind][] = [
  { kind: 'open', outcome: { reply: { partitions: 16 } } },
  { kind: 'close', outcome: { reply: undefined } },
  { kind: 'repair', outcome: { reply: undefined } },
  { kind: 'unlink', outcome: { reply: undefined } },
  { kind: 'open', outcome: { error: new StatusError(tooManyRequests('not now', 3)) } },
  { kind: 'fence', outcome: { reply: { rv: 9, inventory: undefined } } },
  { kind: 'fence', outcome: { reply: { rv: 9, inventory: INVENTORY } } },
  { kind: 'backfill', outcome: { reply: undefined } },
  { kind: 'backfill', outcome: { reply: changes(3) } },
  { kind: 'sync', outcome: { error: new StatusError(tooManyRequests('not now', 3)) } },
  { kind: 'status', outcome: { reply: { name: 'shard-0', lanes: [{ epoch: 2 ** 40, up: true }] } } },
];

export const SAMPLE_STATES: readonly TrackState[] = [
  {
    kind: 'changes',
    epoch: 2 ** 33,
    changes: changes(2),
    position: { rv: 2 ** 40 + 1, index: 0 },
    watermark: 2 ** 41,
  },
  {
    kind: 'state',
    epoch: 1,
    changes: changes(1),
    position: { rv: 2 ** 40, index: 0 },
    watermark: 2 ** 40,
    facts: podFacts('json'),
    listing: { rv: 2 ** 39, objects: [pod('a', 7), pod('b', 5)] },
    tombstones: [{ object: pod('c', 8), born: 3 }],
    horizon: 4,
  },
];

/** Base64 of the parts of each sample, in the order above. */
export interface RecordedMessages {
  readonly envelopes: Readonly<Record<string, readonly string[]>>;
  readonly requests: readonly string[];
  readonly replies: readonly (readonly string[])[];
  readonly states: readonly (readonly string[])[];
}

/** The samples in the version of the format that is written now. */
export function encodedSamples(): RecordedMessages {
  const texts = (parts: readonly Buffer[]): string[] => parts.map((part) => part.toString('base64'));
  const envelopes = Object.entries(SAMPLE_ENVELOPES).map(
    ([name, envelope]) => [name, texts(encodeEnvelope(envelope, SAMPLE_OPTIONS))] as const,
  );
  return {
    envelopes: Object.fromEntries(envelopes),
    requests: SAMPLE_REQUESTS.map(({ kind, request }) => encodeRequest(kind, request).toString('base64')),
    replies: SAMPLE_REPLIES.map(({ kind, outcome }) => texts(encodeReply(kind, outcome as never, SAMPLE_OPTIONS))),
    states: SAMPLE_STATES.map((state) => texts([...encodeTrackState(state)])),
  };
}
