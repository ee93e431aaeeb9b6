const FNV_OFFSET_BASIS = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/**
 * The members that own a track, best first: those with the highest hash of (track, member). Whoever has the same
 * members gets the same owners, whatever their order; a member that comes or goes moves no track but its own.
 */
export function ownersOf(track: string, members: readonly string[], count = 2): readonly string[] {
  return members
    .map((member) => ({ member, weight: weightOf(track, member) }))
    .toSorted((a, b) => b.weight - a.weight || (a.member < b.member ? -1 : 1))
    .slice(0, count)
    .map(({ member }) => member);
}

/** FNV-1a of 32 bits, then the finalizer of MurmurHash3: names that differ in their last letter must not rank alike. */
function weightOf(track: string, member: string): number {
  let hash = FNV_OFFSET_BASIS;
  for (const byte of Buffer.from(`${track}\0${member}`)) hash = Math.imul(hash ^ byte, FNV_PRIME);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
