import type { FieldPath } from '@dogwatch/kube/field-path.ts';
import { ownCopy } from '@dogwatch/kube/own-copy.ts';
import type { LaneFacts } from '@dogwatch/watch/lane-view.ts';
import { pack, unpack } from './packing.ts';

export function packFacts(facts: LaneFacts): Buffer {
  const { schema, ...rest } = facts;
  return pack({ ...rest, encoding: schema.encoding, fields: [...schema.fields], indexedField: schema.indexedField });
}

type PackedFacts = Omit<LaneFacts, 'schema'> &
  Omit<LaneFacts['schema'], 'fields'> & { readonly fields: readonly (readonly [string, FieldPath])[] };

/** The facts in `bytes`, of which nothing is kept. Throws EnvelopeCorrupt, and TypeError for another shape. */
export function unpackFacts(bytes: Buffer): LaneFacts {
  const { encoding, fields, indexedField, bookmark, ...rest } = unpack(bytes) as PackedFacts;
  return {
    ...rest,
    schema: { encoding, fields: new Map(fields), indexedField },
    bookmark: bookmark === undefined ? undefined : ownCopy(bookmark),
  };
}
