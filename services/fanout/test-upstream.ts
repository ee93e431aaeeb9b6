import { Readable } from 'node:stream';
import type { Upstream, UpstreamRequest } from '@dogwatch/upstream/upstream.ts';

/** What the stub was asked. */
export interface AskedRequest {
  readonly method: string;
  readonly path: string;
  readonly ownCredential: boolean;
  /** `spec` of the review, if it was one. */
  readonly spec: Readonly<Record<string, unknown>>;
}

export interface StubAnswer {
  readonly code?: number;
  /** `status` of the review; or a whole body. */
  readonly status?: object;
  readonly body?: string;
}

/** For tests: an Upstream that answers reviews as it is told. */
export interface StubUpstream extends Upstream {
  readonly asked: readonly AskedRequest[];
  answer: (request: AskedRequest) => StubAnswer | Promise<StubAnswer>;
}

export function stubUpstream(answer: StubUpstream['answer']): StubUpstream {
  const asked: AskedRequest[] = [];
  const unused = () => {
    throw new Error('not part of this test');
  };
  return {
    server: new URL('https://upstream.test'),
    asked,
    answer,
    async open({ method = 'GET', path, body, ownCredential = true }: UpstreamRequest) {
      const { spec = {} } = body === undefined ? {} : (JSON.parse(String(body)) as { spec?: AskedRequest['spec'] });
      const request = { method, path, ownCredential, spec };
      asked.push(request);
      const { code = 201, status, body: text } = await this.answer(request);
      const content = text ?? JSON.stringify({ spec, status });
      return {
        status: code,
        headers: { 'content-type': 'application/json' },
        body: Readable.from([Buffer.from(content)]),
      };
    },
    forward: unused,
    ownHeaders: unused,
    ownCredentialRefused: unused,
    close: () => {},
  };
}

/** For tests: an upstream that knows shards, or does not. */
export function knowingShards(knows: boolean): { knows(): Promise<boolean> } {
  return { knows: () => Promise.resolve(knows) };
}
