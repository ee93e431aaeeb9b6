import type { IncomingHttpHeaders } from 'node:http';

/** A header that should hold a token does not; to the client it is a plain 401. */
export class MalformedToken extends Error {
  override readonly name = 'MalformedToken';
  readonly code = 'malformed_token';
}

const WEBSOCKET_PREFIX = 'base64url.bearer.authorization.k8s.io.';

/** The token of `Authorization: Bearer TOKEN`, read as kube-apiserver does; undefined if there is none. */
export function tokenOfAuthorization({ authorization }: IncomingHttpHeaders): string | undefined {
  const [scheme = '', token = ''] = (authorization ?? '').trim().split(' ');
  return scheme.toLowerCase() === 'bearer' && token !== '' ? token : undefined;
}

/**
 * The token that a browser's WebSocket carries as a subprotocol; undefined if there is none. Throws MalformedToken
 * where kube-apiserver refuses: two tokens, bad encoding, or no other subprotocol to answer with.
 */
export function tokenOfWebSocket(headers: IncomingHttpHeaders): string | undefined {
  if (headers.upgrade?.toLowerCase() !== 'websocket') return undefined;
  if (headers.connection?.split(',').some((name) => name.trim().toLowerCase() === 'upgrade') !== true) return undefined;
  const protocols = (headers['sec-websocket-protocol'] ?? '').split(',').map((protocol) => protocol.trim());
  const [carrier, ...more] = protocols.filter((protocol) => protocol.startsWith(WEBSOCKET_PREFIX));
  if (carrier === undefined) return undefined;
  if (more.length > 0) throw new MalformedToken('more than one bearer token among the subprotocols');
  const encoded = carrier.slice(WEBSOCKET_PREFIX.length);
  const token = Buffer.from(encoded, 'base64url').toString('utf8');
  if (Buffer.from(token, 'utf8').toString('base64url') !== encoded)
    throw new MalformedToken('bearer token with a wrong encoding');
  if (token === '') return undefined;
  if (protocols.length < 2) throw new MalformedToken('no subprotocol beside the bearer token');
  return token;
}

/** When a JSON web token expires, in milliseconds since 1970; undefined for other tokens. Nothing is verified. */
export function expiryOfToken(token: string): number | undefined {
  const [, payload, , ...more] = token.split('.');
  if (payload === undefined || more.length > 0) return undefined;
  let claims: unknown;
  try {
    claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (typeof claims !== 'object' || claims === null || !('exp' in claims)) return undefined;
  return typeof claims.exp === 'number' ? claims.exp * 1000 : undefined;
}
