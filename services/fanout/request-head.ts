import type { IncomingHttpHeaders } from 'node:http';

/** What a request's head becomes before anybody else sees it. */
export interface RequestHead {
  readonly method: string;
  /** Origin form (`/path?query`), or `*` of OPTIONS. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
}

/** Why a request is answered by the server itself. */
export interface RequestRefusal {
  readonly status: 400 | 405 | 431;
  readonly reason: string;
}

export interface RawRequestHead {
  readonly method: string;
  readonly target: string;
  /** As Node parsed them; changed in place. */
  readonly headers: IncomingHttpHeaders;
  /** Name, value, name, value …, names in any case. */
  readonly rawHeaders: readonly string[];
  readonly maxHeaderPairs: number;
}

/**
 * Checks a request's head and brings it into one form for both protocols. `impersonate-*` headers become arrays with
 * one entry per header line, as their values may hold commas. Refused are: more header lines than the bound (Node would
 * drop the rest, perhaps an Impersonate-User), CONNECT, targets that are not an origin's, transfer codings other than
 * chunked, and a Connection header that names a security header, so that a hop would strip it (CVE-2021-31999).
 */
export function readRequestHead(raw: RawRequestHead): RequestHead | RequestRefusal {
  const { method, target, headers, rawHeaders, maxHeaderPairs } = raw;
  if (rawHeaders.length > maxHeaderPairs * 2) return { status: 431, reason: `more than ${maxHeaderPairs} headers` };
  if (method === 'CONNECT') return { status: 405, reason: 'CONNECT is not supported' };
  const url = originForm(method, target, headers);
  if (url === undefined) return { status: 400, reason: 'malformed request target' };
  const coding = headers['transfer-encoding'];
  // RFC 9112 6.3: the end of such a body cannot be known; Node finds out only after it has handed the request over.
  if (coding !== undefined && coding.toLowerCase() !== 'chunked')
    return { status: 400, reason: 'unsupported transfer encoding' };
  const stripped = headers.connection?.split(',').find((name) => isSecurityHeader(name.trim().toLowerCase()));
  if (stripped !== undefined) return { status: 400, reason: 'the Connection header names a security header' };
  separateImpersonation(headers, rawHeaders);
  return { method, url, headers };
}

/** RFC 9112 3.2: origin-form, absolute-form (whose authority goes before Host), or the asterisk of OPTIONS. */
function originForm(method: string, target: string, headers: IncomingHttpHeaders): string | undefined {
  if (target.includes('#')) return undefined;
  if (target.startsWith('/') || (target === '*' && method === 'OPTIONS')) return target;
  const absolute = /^https?:\/\/([^/?]+)(.*)$/i.exec(target);
  if (absolute === null) return undefined;
  const [, authority = '', rest = ''] = absolute;
  headers.host = authority;
  return rest.startsWith('/') ? rest : `/${rest}`;
}

function isSecurityHeader(name: string): boolean {
  return name === 'authorization' || name.startsWith('impersonate-') || name.startsWith('x-remote-');
}

function separateImpersonation(headers: IncomingHttpHeaders, rawHeaders: readonly string[]): void {
  for (const name in headers) {
    if (!name.startsWith('impersonate-')) continue;
    const values: string[] = [];
    for (let index = 0; index < rawHeaders.length; index += 2) {
      if (rawHeaders[index]!.toLowerCase() === name) values.push(rawHeaders[index + 1]!);
    }
    headers[name] = values;
  }
}
