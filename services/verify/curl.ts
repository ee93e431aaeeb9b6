import type { VerifyRequest } from './request.ts';

/** A line for a shell that sends the request again. Whoever runs it sets $TOKEN; no credential is in it. */
export function curlLine({ method, path, headers, body, asker, protocol }: VerifyRequest, server: URL): string {
  const words = ['curl', '-skS', '-i', '--path-as-is', protocol === 'h1' ? '--http1.1' : '--http2'];
  if (method === 'HEAD') words.push('-I');
  else if (method !== 'GET') words.push('-X', method);
  if (asker.kind === 'self' || asker.kind === 'token') words.push('-H', '"Authorization: Bearer $TOKEN"');
  if (asker.kind === 'stranger') words.push('-H', quote(`Authorization: ${asker.authorization}`));
  // curl's own headers change the answer: its name makes it pretty.
  const sent = { 'user-agent': '', accept: '', ...headers };
  for (const [name, value] of Object.entries(sent))
    words.push('-H', quote(value === '' ? `${name}:` : `${name}: ${value}`));
  if (body !== undefined) words.push('--data-binary', quote(body));
  words.push(quote(`${server.origin}${server.pathname.replace(/\/+$/, '')}${path}`));
  return words.join(' ');
}

function quote(text: string): string {
  if (/^[\x20-\x7e]*$/.test(text) && !text.includes("'")) return `'${text}'`;
  const escaped = text.replaceAll(/[\\']|[^\x20-\x7e]/g, (character) =>
    character.length === 1 && character.charCodeAt(0) < 0x100
      ? `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`
      : character,
  );
  return `$'${escaped}'`;
}
