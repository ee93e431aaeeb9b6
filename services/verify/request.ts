import { parseApiRequest } from '@dogwatch/kube/api-request.ts';
import type { Random } from './random.ts';
import type { Population } from './population.ts';

/** Who asks: the kubeconfig's user, nobody, who shows what no server knows, or a name from the tokens file. */
export type Asker =
  | { readonly kind: 'self' | 'nobody' }
  | { readonly kind: 'stranger'; readonly authorization: string }
  | { readonly kind: 'token'; readonly name: string };

/** Stands in a path for the token of the first page, which is asked for just before. */
export const TOKEN_PLACE = 'CONTINUE-TOKEN';

/** What is sent to both sides. */
export interface VerifyRequest {
  readonly index: number;
  readonly method: string;
  /** Path and query as they go on the wire, each character a byte. */
  readonly path: string;
  /** Lower case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  readonly asker: Asker;
  readonly protocol: 'h1' | 'h2';
  /** A page that is not the first: its token comes from this path on one of the sides. */
  readonly firstPage: { readonly path: string; readonly side: Side } | undefined;
  /** The answer may be a stream without an end. */
  readonly stream: boolean;
  /** Objects change while it is open. */
  readonly live: boolean;
}

export type Side = 'upstream' | 'dogwatch';

/** What requests are made from. */
export interface World {
  readonly population: Population;
  /** The cluster's version when the request is made. */
  readonly version: number;
  /** Names in the tokens file. */
  readonly users: readonly string[];
  /** Dry runs may be sent. */
  readonly write: boolean;
}

/** A request while it is being made. Values are encoded as they go on the wire. */
export interface Draft {
  method: string;
  group: string;
  version: string;
  /** Row W3. */
  watchPrefix: boolean;
  /** "": all. */
  namespace: string;
  resource: string;
  name: string;
  subresource: string;
  query: [name: string, value: string][];
  headers: Record<string, string>;
  body: string | undefined;
  asker: Asker;
  /** Instead of the path made of the parts. */
  rawPath: string | undefined;
  firstPage: { query: string; side: Side } | undefined;
}

/** Changes a draft, as the random numbers say. */
export type Change = (draft: Draft, random: Random, world: World) => void;

export function setQuery(draft: Draft, name: string, value: string): void {
  draft.query = draft.query.filter(([known]) => known !== name);
  draft.query.push([name, value]);
}

export function dropQuery(draft: Draft, ...names: readonly string[]): void {
  draft.query = draft.query.filter(([known]) => !names.includes(known));
}

/** No server knows it. */
export const UNKNOWN_METHOD = 'NONSENSE';

const HARMLESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', UNKNOWN_METHOD]);

/** The draft as it goes on the wire. */
export function finish(draft: Draft, index: number, protocol: 'h1' | 'h2'): VerifyRequest {
  // What could change the cluster is a dry run, whatever else became of its query.
  if (!HARMLESS.has(draft.method) && !draft.query.some(([name]) => name === 'dryRun')) setQuery(draft, 'dryRun', 'All');
  const base = draft.rawPath ?? pathOfDraft(draft);
  const path = withQuery(base, draft.query);
  return {
    index,
    method: draft.method,
    path,
    headers: draft.headers,
    body: draft.body,
    asker: draft.asker,
    // HTTP/2 carries no body with a length it does not know, and no odd byte in a path, through node:http2.
    protocol: /^[\x21-\x7e]*$/.test(path) ? protocol : 'h1',
    firstPage: draft.firstPage && { path: `${base}?${draft.firstPage.query}`, side: draft.firstPage.side },
    // A name with ?watch is a plain GET.
    stream: parseApiRequest(draft.method, path).verb === 'watch',
    live: false,
  };
}

function pathOfDraft(draft: Draft): string {
  const segments = draft.group === '' ? ['api', draft.version] : ['apis', draft.group, draft.version];
  if (draft.watchPrefix) segments.push('watch');
  if (draft.namespace !== '') segments.push('namespaces', encodeURIComponent(draft.namespace));
  segments.push(draft.resource);
  if (draft.name !== '') segments.push(encodeURIComponent(draft.name));
  if (draft.subresource !== '') segments.push(draft.subresource);
  return `/${segments.join('/')}`;
}

function withQuery(path: string, query: readonly (readonly [string, string])[]): string {
  if (query.length === 0) return path;
  return `${path}?${query.map(([name, value]) => `${name}=${value}`).join('&')}`;
}
