import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';

/**
 * Namespaces that hold so much of a resource that they are spread over all partitions by object: kube-node-lease has
 * one lease per node. Part of the wire contract, see `partitionOf`.
 */
export const HOT_NAMESPACES: ReadonlySet<string> = new Set(['kube-node-lease']);

/** Name on the bus of one partition of a lane: a track is the unit of order and ownership. */
export function trackOf(lane: Lane, partition = 0): string {
  return `${laneKey(lane)}/${partition}`;
}

/**
 * The partition, in [0, partitions), an object belongs to: by its namespace, and by its own name where it has none or
 * where the namespace is hot. A wire contract: all processes of all versions on one bus must agree, so neither the
 * hash (FNV-1a of 32 bits over UTF-8, that of nats-server's `partition()`) nor the hot namespaces may change while
 * the number of partitions stays the same.
 */
export function partitionOf(namespace: string, name: string, partitions: number): number {
  if (partitions === 1) return 0;
  if (namespace === '') return fnv1a(name) % partitions;
  return fnv1a(HOT_NAMESPACES.has(namespace) ? `${namespace}/${name}` : namespace) % partitions;
}

const FNV_OFFSET_BASIS = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

function fnv1a(text: string): number {
  let hash = FNV_OFFSET_BASIS;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    // Namespaces are ASCII, and nearly all names: only the others need their UTF-8 made.
    if (unit > 0x7f) return fnv1aOfBytes(Buffer.from(text));
    hash = Math.imul(hash ^ unit, FNV_PRIME);
  }
  return hash >>> 0;
}

function fnv1aOfBytes(bytes: Uint8Array): number {
  let hash = FNV_OFFSET_BASIS;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, FNV_PRIME);
  return hash >>> 0;
}
