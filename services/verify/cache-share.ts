import { VerifyError } from './verify-error.ts';

const METRIC = 'dogwatch_requests_total';

/** Requests by who answered them, from the dogwatch's own counters. */
export interface CacheShare {
  /** From its caches. */
  readonly served: number;
  /** By kube-apiserver, which it asked. */
  readonly forwarded: number;
  /** By itself: no right, come again. */
  readonly refused: number;
}

/** Reads the counters on an admin port. Rejects with VerifyError. */
export async function readCacheShare(adminUrl: string, signal: AbortSignal): Promise<CacheShare> {
  const url = new URL('/metrics', adminUrl);
  let text: string;
  try {
    const response = await fetch(url, { signal });
    text = await response.text();
  } catch (cause) {
    throw new VerifyError('cannot_read', `--admin-url: ${url.href} does not answer`, { cause });
  }
  const value = (answer: string): number =>
    Number(new RegExp(`^${METRIC}\\{answer="${answer}"\\} (\\d+)`, 'm').exec(text)?.[1] ?? Number.NaN);
  const share = { served: value('served'), forwarded: value('forwarded'), refused: value('refused') };
  if (Number.isNaN(share.served)) throw new VerifyError('cannot_read', `--admin-url: ${url.href} has no ${METRIC}`);
  return share;
}

/** What was counted since. */
export function since(before: CacheShare, after: CacheShare): CacheShare {
  return {
    served: after.served - before.served,
    forwarded: after.forwarded - before.forwarded,
    refused: after.refused - before.refused,
  };
}
