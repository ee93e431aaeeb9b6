// Objects kube-apiserver may rightly send and hardly ever does, the same for the same seed, with what is in them
// written down beside: neither the writers nor the truth know the code under test.

/** What of an odd object a watch cache must find. */
export interface OddIdentity {
  readonly kind: string;
  readonly apiVersion: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly rv: number;
  readonly labels: ReadonlyMap<string, string>;
}

/** Numbers, picks and chances from one seed (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** From 0 up to, but not with, `limit`. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  }

  /** True once in `times`. */
  once(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(from: readonly [T, ...T[]]): T {
    return from[this.below(from.length)] as T;
  }

  shuffled<T>(all: readonly T[]): T[] {
    return all
      .map((item) => ({ item, rank: this.below(2 ** 32) }))
      .toSorted((a, b) => a.rank - b.rank)
      .map(({ item }) => item);
  }
}

/** NUL and other controls, line separators, combining marks, private use, non-characters, emoji, what misleads scanners. */
// oxfmt-ignore
const PIECES: readonly [string, ...string[]] = [
  'a', 'name', 'metadata', 'z9', '', ' ', '\0', '\n', '\r', '\t', '\b', '\f', '\u001f', '\u007f', '\u0085',
  '"', '\\', '\\u0041', '{', '}', '[', ']', ',', ':', '":"', '/', '<', '>', '&', "'", '=', '.', '-',
  'é', 'e\u0301', '\u2028', '\u2029', '\ufeff', '\ufffd', '\uffff', '\ue000', '😀', '👩‍👩‍👧', '𝕏', '\u{10ffff}', 'ß', 'ﬀ', '\u202e',
];

/** Text of up to `pieces` pieces. */
export function oddText(random: Random, pieces = 4): string {
  return Array.from({ length: random.below(pieces + 1) }, () => random.pick(PIECES)).join('');
}

/** With up to `labels` labels, whose keys and values upstream itself would refuse: bytes are bytes. */
export function oddIdentity(random: Random, labels = 4): OddIdentity {
  return {
    kind: oddText(random),
    apiVersion: oddText(random),
    namespace: random.once(3) ? '' : oddText(random),
    name: `n${oddText(random)}`,
    uid: oddText(random),
    rv: 1 + random.pick([random.below(2 ** 31), 0, Number.MAX_SAFE_INTEGER - 1, 2 ** 32, 8, 98]),
    labels: new Map(Array.from({ length: random.below(labels + 1) }, () => [oddText(random), oddText(random)])),
  };
}

/** `text` as a JSON string: characters as they are, by their short escapes, or as \u of either case. */
export function spellJson(random: Random, text: string): string {
  const way = random.below(3);
  if (way === 0) return JSON.stringify(text);
  let spelt = '';
  const characters = Array.from(text);
  for (const [at, character] of characters.entries()) {
    if (way === 2 && random.once(2)) spelt += JSON.stringify(character).slice(1, -1);
    else if (character === '/' && random.once(2)) spelt += '\\/';
    else if (character === '\ufffd') spelt += `\\u${oddReplacement(random, characters[at + 1])}`;
    else spelt += character.replaceAll(/[\0-\uffff]/g, (unit) => `\\u${hex(random, unit.charCodeAt(0))}`);
  }
  return `"${spelt}"`;
}

/** Go reads a surrogate that is alone as U+FFFD. */
function oddReplacement(random: Random, next: string | undefined): string {
  if (random.once(3)) return hex(random, 0xfffd);
  // Low ones only, for a high one before it would make a pair of the two.
  return hex(random, next === '\ufffd' || random.once(2) ? 0xdc00 + random.below(0x400) : 0xfffd);
}

function hex(random: Random, unit: number): string {
  const digits = unit.toString(16).padStart(4, '0');
  return random.once(2) ? digits : digits.toUpperCase();
}

const NUMBERS = ['0', '-0', '-0.0', '1E+5', '-1.5e-7', '9007199254740993', '18446744073709551616', '1e400', '0.10e-2'];
const VALUES = [
  'null',
  'true',
  'false',
  '[]',
  '{}',
  '[null,{},[]]',
  '"}"',
  '"\\\\"',
  '"\\""',
  '{"items":null}',
] as const;
/** ControllerRevisions and managed fields hold raw JSON of their writers, which may repeat keys. */
const REPEATED = ['{"a":1,"a":2}', '{"metadata":{"name":"no"},"metadata":null}', '{"name":"x","\\u006eame":"y"}'];

/** Any JSON value an object may hold somewhere. */
export function oddJsonValue(random: Random, depth = 30): string {
  const nested = 1 + random.below(depth);
  const deep = `${'{"a":['.repeat(nested)}${random.pick(['', '1', '"]"'])}${']}'.repeat(nested)}`;
  const text = spellJson(random, oddText(random));
  return random.pick([deep, text, ...NUMBERS, ...VALUES, ...REPEATED]);
}

/** As the body of a JSON object, in any order and with any white space. */
function jsonObject(random: Random, members: readonly (readonly [string, string])[]): string {
  const space = (): string => (random.once(3) ? random.pick(['', ' ', '\t', '\r\n', '  ']) : '');
  const texts = random
    .shuffled(members)
    .map(([key, value]) => `${space()}${spellJson(random, key)}${space()}:${space()}${value}${space()}`);
  return `{${texts.join(',')}${space()}}`;
}

/** The object as JSON, with `members` (keys and their values' text) beside; on one line, as in a frame. */
export function oddJson(
  random: Random,
  identity: OddIdentity,
  members: readonly (readonly [string, string])[] = [],
): Buffer {
  const string = (key: string, value: string): [string, string][] => {
    if (value === '' && random.once(2)) return random.once(2) ? [] : [[key, 'null']];
    return [[key, spellJson(random, value)]];
  };
  const others = (): [string, string][] =>
    Array.from({ length: random.below(3) }, () => [`other ${oddText(random)}`, oddJsonValue(random)]);
  const labels = [...identity.labels].map(([key, value]) => [key, spellJson(random, value)] as const);
  const noLabels = random.pick(['null', '{}', undefined]);
  const metadata = jsonObject(random, [
    ...string('name', identity.name),
    ...string('namespace', identity.namespace),
    ...string('uid', identity.uid),
    ...string('resourceVersion', String(identity.rv)),
    ...(labels.length > 0 ? [['labels', jsonObject(random, labels)] as const] : []),
    ...(labels.length === 0 && noLabels !== undefined ? [['labels', noLabels] as const] : []),
    ...others(),
    ['Name', '"not the name"'],
    ['managedFields', `[{"fieldsV1":${oddJsonValue(random)}}]`],
  ]);
  const text = jsonObject(random, [
    ...string('kind', identity.kind),
    ...string('apiVersion', identity.apiVersion),
    ['metadata', metadata],
    ...others(),
    ...members,
    ['data', oddJsonValue(random)],
  ]);
  return Buffer.from(text.replaceAll('\n', ' '));
}

/** A varint, perhaps in more bytes than it needs. */
function varint(random: Random, value: bigint): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  if (!random.once(6)) return bytes;
  const longer = bytes.length + random.below(11 - bytes.length);
  while (bytes.length < longer) {
    bytes.push((bytes.pop() as number) | 128);
    bytes.push(0);
  }
  return bytes;
}

/** A length-delimited field. */
export function protobufField(random: Random, field: number, ...payload: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat(payload);
  const header = [...varint(random, BigInt(field * 8 + 2)), ...varint(random, BigInt(bytes.length))];
  return Buffer.concat([Buffer.from(header), bytes]);
}

/** A field no reader of Kubernetes' own knows, of any wire type but groups. */
function unknownField(random: Random): Buffer {
  const field = random.pick([100, 20, 2047, 2 ** 29 - 1]);
  const tag = (wireType: number): number[] => varint(random, BigInt(field * 8 + wireType));
  const noise = (length: number): number[] => Array.from({ length }, () => random.below(256));
  const int = random.pick([0n, 1n, 2n ** 63n, 2n ** 64n - 1n]);
  return random.pick([
    Buffer.from([...tag(0), ...varint(random, int)]),
    Buffer.from([...tag(1), ...noise(8)]),
    Buffer.from([...tag(5), ...noise(4)]),
    protobufField(random, field, Buffer.from(noise(random.below(20)))),
  ]);
}

/**
 * The object as protobuf in its `k8s\0` envelope: fields in any order and some twice, of which the last counts, messages
 * in parts, which are one, and unknown fields between.
 */
export function oddProtobuf(random: Random, identity: OddIdentity): Buffer {
  const string = (field: number, text: string): Buffer => protobufField(random, field, Buffer.from(text));
  const mixed = (fields: readonly Buffer[]): Buffer[] =>
    random.shuffled(fields).flatMap((field) => (random.once(4) ? [unknownField(random), field] : [field]));
  const text = (field: number, value: string): Buffer =>
    random.once(4) ? Buffer.concat([string(field, 'overwritten'), string(field, value)]) : string(field, value);
  const labels = [...identity.labels].map(([key, value]) =>
    protobufField(random, 11, ...mixed([text(1, key), text(2, value)])),
  );
  const meta = mixed([
    text(1, identity.name),
    text(3, identity.namespace),
    text(5, identity.uid),
    random.once(4) ? Buffer.concat([string(6, '3'), string(6, String(identity.rv))]) : string(6, String(identity.rv)),
    ...labels,
  ]);
  const cut = random.below(meta.length + 1);
  const metas = random.once(3) ? [meta.slice(0, cut), meta.slice(cut)] : [meta];
  const parts = metas.map((fields) => protobufField(random, 1, ...fields));
  const body = [...parts, ...(random.once(2) ? [string(2, oddText(random))] : [])];
  const type = protobufField(random, 1, ...mixed([text(1, identity.apiVersion), text(2, identity.kind)]));
  const raw = protobufField(random, 2, ...mixed([Buffer.concat(body)]));
  return Buffer.concat([Buffer.from('k8s\0'), ...mixed([type, raw, string(3, ''), string(4, '')])]);
}
