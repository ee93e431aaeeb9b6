/** A way in which dogwatch may answer otherwise than kube-apiserver does at the same moment. */
export interface Wanted {
  readonly what: string;
  readonly reason: string;
}

/**
 * Every difference that is known and wanted, and nothing else is forgiven. ARCHITECTURE.md has the same table. Each
 * request for which one was needed is counted under its name.
 */
export const WANTED = {
  'list version': {
    what: 'resourceVersion of a LIST that is neither exact nor a further page, and the same in its continue token',
    reason:
      'any version from the newest change asked for to the cluster’s own is true of the same objects; a quiet cache moves only by reads',
  },
  'token form': {
    what: 'the slash at the start of the key in a continue token',
    reason: 'kube-apiserver writes it when its cache answers and not when etcd does, which is chance; both take both',
  },
  'end bookmark version': {
    what: 'resourceVersion of the bookmark that ends the initial events',
    reason: 'as with a LIST: a version at which the objects before it are true',
  },
  bookmarks: {
    what: 'when and how often other bookmarks come, and their resourceVersion',
    reason: 'upstream sends them about once a minute; dogwatch also before a watch ends, so that clients resume nearer',
  },
  'current version in text': {
    what: 'the number after "current:" in Too large resource version',
    reason: 'it is how far the cache is that answers, and each server has its own',
  },
  'when to come again': {
    what: 'retryAfterSeconds of Too large resource version, from 1 to 3',
    reason: 'for a resource without a watch cache kube-apiserver picks it at random',
  },
  'oldest version in text': {
    what: 'the number in brackets in too old resource version',
    reason: 'it is how far back the history goes that answers, and each server has its own',
  },
  'longer history': {
    what: 'events, where kube-apiserver says 410',
    reason:
      'dogwatch keeps history by bytes and across restarts of kube-apiserver, so a client resumes instead of listing',
  },
  shards: {
    what: 'what a shardSelector selects and shardInfo, where kube-apiserver has ShardedListAndWatch off and sends everything; 410 for a past state that dogwatch does not hold',
    reason: 'dogwatch serves shards on every version; clients tell by shardInfo whether they got one (KEP-5866)',
  },
  'try again': {
    what: '429 and 503 with Retry-After, up to five times in a row',
    reason: 'both protect themselves by it, each at moments of its own; the request is sent again, as client-go does',
  },
  ages: {
    what: 'cells of a Table that say how long ago something was',
    reason: 'they are computed when the answer is made',
  },
  'table columns': {
    what: 'whether an event of a Table watch repeats columnDefinitions',
    reason:
      'kube-apiserver encodes an event once for all who watch Tables, so that it is chance in its own answers too',
  },
  'request line': {
    what: '400 to HTTP/1.1 requests with an unknown method or a byte above 0x7f in their target, and to HTTP/2 paths with a stray percent sign, of which kube-apiserver resets the stream',
    reason: 'no client sends them; RFC 9110 and 9112 allow neither, and each HTTP library refuses them in its own way',
  },
  minted: {
    what: 'uid, times and generated names in the answer to a dry run',
    reason: 'upstream makes new ones for each request',
  },
} as const satisfies Readonly<Record<string, Wanted>>;

export type WantedId = keyof typeof WANTED;
