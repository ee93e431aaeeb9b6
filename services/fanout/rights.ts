import type { ApiRequest } from '@dogwatch/kube/api-request.ts';
import type { Connection } from './exchange.ts';
import type { IncomingHttpHeaders } from 'node:http';
import type { Caller, User } from './user.ts';

/** What is asked of upstream about a caller, and about what they may see. */
export interface Rights {
  /** How a request of this caller reaches upstream, which then decides itself. */
  callerToForward(request: CallerHeaders): Promise<Caller>;
  /** Who the caller is; undefined where only upstream can say what becomes of them. */
  callerToServe(request: CallerHeaders): Promise<Caller | undefined>;
  mayRead(user: User, request: ApiRequest): Promise<{ allowed: true } | { allowed: false; reason: string }>;
}

export interface CallerHeaders {
  readonly headers: IncomingHttpHeaders;
  readonly connection: Connection;
}

export async function createRights(..._: unknown[]): Promise<Rights> {
  const caller = async (r: CallerHeaders): Promise<Caller> => ({
    user: { name: 'admin', uid: '', groups: [], extra: {} },
    credential: { kind: 'bearer', token: String(r.headers.authorization).replace(/^Bearer /, '') },
  });
  return { callerToForward: caller, callerToServe: caller, mayRead: async () => ({ allowed: true }) };
}
