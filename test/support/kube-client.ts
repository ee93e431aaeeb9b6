import { Agent, request } from 'node:https';

export interface Endpoint {
  /** https://HOST:PORT, no path. */
  readonly server: string;
  /** PEM of the authority that signed the server's certificate. */
  readonly ca: string;
}

/** What a caller shows: a token, a client certificate, or nothing. */
export interface Credential {
  readonly token?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface KubeResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** An answer other than the one a test's own set-up needs. */
export class KubeError extends Error {
  readonly code = 'KUBE';
  readonly status: number;
  constructor(what: string, response: KubeResponse) {
    super(`${what}: ${response.status} ${response.body.slice(0, 400)}`);
    this.status = response.status;
  }
}

/** A small JSON client for set-up and checks; the clients under test are others' (kubectl, client-go, kubelet). */
export class KubeClient {
  readonly endpoint: Endpoint;
  readonly credential: Credential;
  readonly #agent: Agent;

  constructor(endpoint: Endpoint, credential: Credential) {
    this.endpoint = endpoint;
    this.credential = credential;
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: 16,
      ca: endpoint.ca,
      ...(credential.cert === undefined ? {} : { cert: credential.cert }),
      ...(credential.key === undefined ? {} : { key: credential.key }),
    });
  }

  /** One request, whatever its status. Rejects only if there is no answer. */
  request(
    method: string,
    path: string,
    options: { body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<KubeResponse> {
    const headers: Record<string, string> = { accept: 'application/json', ...options.headers };
    if (this.credential.token !== undefined) headers['authorization'] = `Bearer ${this.credential.token}`;
    const body = options.body === undefined ? undefined : Buffer.from(JSON.stringify(options.body));
    if (body !== undefined) {
      headers['content-type'] ??= 'application/json';
      headers['content-length'] = String(body.length);
    }
    return new Promise((resolve, reject) => {
      const outgoing = request(
        new URL(path, this.endpoint.server),
        { method, agent: this.#agent, headers },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: Buffer.concat(chunks).toString(),
            });
          });
        },
      );
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }

  get<T = KubeObject>(path: string): Promise<T> {
    return this.#json<T>('GET', path);
  }

  create<T = KubeObject>(path: string, body: unknown): Promise<T> {
    return this.#json<T>('POST', path, { body });
  }

  mergePatch<T = KubeObject>(path: string, body: unknown): Promise<T> {
    return this.#json<T>('PATCH', path, { body, headers: { 'content-type': 'application/merge-patch+json' } });
  }

  replace<T = KubeObject>(path: string, body: unknown): Promise<T> {
    return this.#json<T>('PUT', path, { body });
  }

  delete<T = KubeObject>(path: string): Promise<T> {
    return this.#json<T>('DELETE', path);
  }

  close(): void {
    this.#agent.destroy();
  }

  async #json<T>(
    method: string,
    path: string,
    options: { body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<T> {
    const response = await this.request(method, path, options);
    if (response.status < 200 || response.status > 299) throw new KubeError(`${method} ${path}`, response);
    return JSON.parse(response.body) as T;
  }
}

/** The part of an object that tests look at. */
export interface KubeObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
}

/** A kubeconfig as JSON, which is YAML too. */
export function kubeconfig(endpoint: Endpoint, credential: Credential): string {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const user = {
    ...(credential.token === undefined ? {} : { token: credential.token }),
    ...(credential.cert === undefined ? {} : { 'client-certificate-data': base64(credential.cert) }),
    ...(credential.key === undefined ? {} : { 'client-key-data': base64(credential.key) }),
  };
  return JSON.stringify(
    {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        { name: 'test', cluster: { server: endpoint.server, 'certificate-authority-data': base64(endpoint.ca) } },
      ],
      users: [{ name: 'test', user }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
      'current-context': 'test',
    },
    undefined,
    2,
  );
}
