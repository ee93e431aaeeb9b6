/** Track on which `shard` puts what `follower` wants of `track`. */
export function linkTrack(follower: string, shard: string, track: string): string {
  return `link/${follower}/${shard}/${track}`;
}
