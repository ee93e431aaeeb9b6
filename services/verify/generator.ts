import { FORWARDED_CHANGES } from './forwarded-requests.ts';
import { ODD_CHANGES } from './odd-requests.ts';
import { plainDraft } from './plain-requests.ts';
import { Random } from './random.ts';
import { finish, type VerifyRequest, type World } from './request.ts';

/** How often a request is one of these: well formed, upstream's to answer, or wrong in one way or two. */
const MOODS = [
  [70, 'plain'],
  [5, 'forwarded'],
  [20, 'odd'],
  [5, 'twice odd'],
] as const;
const HTTP2_SHARE = 0.5;

/** The request with this number of a seed: the same again while the cluster holds the same. */
export function generate(seed: number, index: number, world: World): VerifyRequest {
  const random = new Random(seed, index);
  const mood = random.weighted(MOODS);
  const draft = plainDraft(random, world);
  if (mood === 'forwarded') random.weighted(FORWARDED_CHANGES)(draft, random, world);
  const oddities = mood === 'odd' ? 1 : mood === 'twice odd' ? 2 : 0;
  for (let i = 0; i < oddities; i++) random.weighted(ODD_CHANGES)(draft, random, world);
  return finish(draft, index, random.chance(HTTP2_SHARE) ? 'h2' : 'h1');
}
