import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';

/**
 * Name on the bus of the track a lane's object travels on. The first version has one partition per lane, which keeps
 * the lane in one total order; the number is in the name so that more can follow.
 */
export function trackOf(lane: Lane, partition = 0): string {
  return `${laneKey(lane)}/${partition}`;
}
