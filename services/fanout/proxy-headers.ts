import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { badRequest, StatusError } from '@dogwatch/kube/status.ts';
import type { ResponseHeaders } from './exchange.ts';
import type { Caller, User } from './user.ts';

/** Headers of one hop only (RFC 9110 7.6.1, RFC 9113 8.2.2), beside those that Connection names and all of Proxy-*. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/**
 * Set anew for the next hop: Host by the transport, the length by who sends the body. Expect was answered by the server
 * of this hop.
 */
const REMADE: ReadonlySet<string> = new Set(['host', 'content-length', 'expect']);

/** How a browser passes a bearer token to a WebSocket of kube-apiserver. */
const WEBSOCKET_TOKEN = 'base64url.bearer.authorization.k8s.io.';

export interface ForwardedHead {
  readonly headers: IncomingHttpHeaders;
  readonly caller: Caller;
  readonly remoteAddress: string;
  /** dogwatch's own credential; used for impersonation only. */
  readonly ownHeaders: Readonly<Record<string, string>>;
}

/**
 * The headers of a client's request as upstream gets them, without Host, length and framing. Headers of the hop go
 * first, so that none of ours can be named in Connection (CVE-2021-31999); then what could pass for an identity; then
 * the caller's identity is added. X-Forwarded-For is extended by the client's address, because upstream's audit log
 * would name dogwatch alone otherwise. Throws StatusError 400 or 403.
 */
export function forwardedHeaders({ headers, caller, remoteAddress, ownHeaders }: ForwardedHead): OutgoingHttpHeaders {
  const named = connectionNames(headers);
  const forwarded: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) continue;
    refuseUnderscores(name);
    if (isHopByHop(name) || named.has(name) || REMADE.has(name) || name.startsWith('x-remote-')) continue;
    if (name === 'authorization' && caller.credential.kind !== 'bearer') continue;
    if (name.startsWith('impersonate-') && caller.credential.kind === 'impersonate') {
      throw new StatusError({
        status: 'Failure',
        message:
          'impersonation through dogwatch needs a bearer token: a client certificate cannot be handed on to kube-apiserver',
        reason: 'Forbidden',
        code: 403,
      });
    }
    forwarded[name] = value;
  }
  const client = remoteAddress.replace(/^::ffff:(?=\d+\.)/i, '');
  const hops = [forwarded['x-forwarded-for'] ?? [], client].flat().filter((hop) => hop !== '');
  if (hops.length > 0) forwarded['x-forwarded-for'] = hops.join(', ');
  if (caller.credential.kind !== 'impersonate') return forwarded;
  dropWebsocketToken(forwarded);
  return { ...forwarded, ...ownHeaders, ...impersonationHeaders(caller.user) };
}

/**
 * Impersonate-* headers that make upstream see exactly `user`, as client-go writes them: values are the bytes of their
 * UTF-8. Throws StatusError 400 for what a header cannot carry unchanged. That includes white space at the ends, which
 * every parser drops, and an empty name, which would make the request dogwatch's own.
 */
export function impersonationHeaders(user: User): Record<string, string | string[]> {
  if (user.name === '') throw cannotCarry('an empty user name');
  const headers: Record<string, string | string[]> = { 'impersonate-user': headerValue(user.name, 'the user name') };
  if (user.uid !== '') headers['impersonate-uid'] = headerValue(user.uid, 'the user UID');
  // Without any group, upstream would give a user named like a service account that account's groups.
  const groups = user.groups.length > 0 ? user.groups : ['system:authenticated'];
  headers['impersonate-group'] = groups.map((group) => headerValue(group, 'a group'));
  for (const [key, values] of Object.entries(user.extra)) {
    if (key === '' || !key.isWellFormed()) throw cannotCarry('the key of an extra field');
    if (values.length === 0) continue;
    headers[`impersonate-extra-${escapeExtraKey(key)}`] = values.map((value) => headerValue(value, 'an extra field'));
  }
  return headers;
}

/** Upstream's response headers for the client; repeated ones stay apart. Trailer stays, for the server to announce. */
export function returnedHeaders(response: IncomingMessage): ResponseHeaders {
  const named = new Set(tokens(response.headers.connection));
  const returned: ResponseHeaders = {};
  for (const [name, values = []] of Object.entries(response.headersDistinct)) {
    if ((isHopByHop(name) && name !== 'trailer') || named.has(name)) continue;
    const [first = '', ...more] = values;
    returned[name] = more.length === 0 ? first : values;
  }
  return returned;
}

/** Lower case members of a comma-separated header. */
export function tokens(value: string | undefined): string[] {
  return (value ?? '')
    .split(',')
    .map((token) => token.trim().toLowerCase())
    .filter((token) => token !== '');
}

function isHopByHop(name: string): boolean {
  return HOP_BY_HOP.has(name) || name.startsWith('proxy-');
}

function isSecurityHeader(name: string): boolean {
  return name === 'authorization' || name.startsWith('impersonate-') || name.startsWith('x-remote-');
}

function connectionNames({ connection }: IncomingHttpHeaders): ReadonlySet<string> {
  const names = tokens(connection);
  const security = names.find((name) => isSecurityHeader(name.replaceAll('_', '-')));
  if (security === undefined) return new Set(names);
  throw new StatusError(badRequest('the Connection header names a header that says who the caller is'));
}

/** Some servers take X_Remote_User for X-Remote-User. */
function refuseUnderscores(name: string): void {
  if (!name.includes('_') || !isSecurityHeader(name.replaceAll('_', '-'))) return;
  throw new StatusError(badRequest('a header that says who the caller is is written with an underscore'));
}

function dropWebsocketToken(headers: Record<string, string | string[]>): void {
  const protocols = headers['sec-websocket-protocol'];
  if (protocols === undefined) return;
  const kept = [protocols]
    .flat()
    .flatMap((list) => list.split(','))
    .map((protocol) => protocol.trim())
    .filter((protocol) => !protocol.startsWith(WEBSOCKET_TOKEN));
  if (kept.length > 0) headers['sec-websocket-protocol'] = kept.join(', ');
  else delete headers['sec-websocket-protocol'];
}

function headerValue(text: string, what: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f-\u009f]|^ | $/.test(text) || !text.isWellFormed()) throw cannotCarry(what);
  // node:http writes one byte per character.
  return Buffer.from(text, 'utf8').toString('latin1');
}

/**
 * As client-go's headerKeyEscape, and upper case escaped as well: upstream lowers the header's name before it unescapes
 * it, so only thus the key arrives as it is.
 */
function escapeExtraKey(key: string): string {
  return [...Buffer.from(key, 'utf8')]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[a-z0-9!#$&'*+.^_`|~-]/.test(character)
        ? character
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');
}

function cannotCarry(what: string): StatusError {
  return new StatusError(
    badRequest(`${what} cannot be handed on to kube-apiserver: control characters, or white space at an end`),
  );
}
