/** Who a request is from, as upstream knows them. */
export interface User {
  readonly name: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/**
 * An authenticated caller. `credential` says how requests of theirs reach upstream: with their own bearer token,
 * by impersonation (certificate users), or with none (anonymous).
 */
export interface Caller {
  readonly user: User;
  readonly credential:
    | { readonly kind: 'bearer'; readonly token: string }
    | { readonly kind: 'impersonate' }
    | { readonly kind: 'none' };
}
