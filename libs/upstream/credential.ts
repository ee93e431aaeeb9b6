import { type ClusterAccess, type PemSource } from './cluster-access.ts';
import { type ExecCredential, runExecPlugin } from './exec-plugin.ts';
import { RotatedFile } from './rotated-file.ts';

/** How often a token file is looked at (client-go: every minute). */
const TOKEN_AGE_MS = 60_000;
/** After a 401 a credential is fetched anew at most this often, so that a storm of them starts no storm of plugins. */
const RENEWAL_PAUSE_MS = 5_000;

/** PEM. */
export interface ClientCertificate {
  readonly certificate: Buffer;
  readonly key: Buffer;
}

export interface CredentialOptions {
  readonly access: ClusterAccess;
  /** Environment for exec plugins. */
  readonly env: NodeJS.ProcessEnv;
  /** Told what went wrong where an older credential stays in use. */
  readonly onProblem: (problem: Error) => void;
}

type ReadPem = (maxAge: number) => Promise<Buffer>;

/** dogwatch's own credential: kept fresh from files and plugins, never logged. */
export class Credential {
  readonly #options: CredentialOptions;
  readonly #tokenFile: RotatedFile | undefined;
  readonly #readCertificate: ReadPem | undefined;
  readonly #readKey: ReadPem | undefined;
  #tokenAge = TOKEN_AGE_MS;
  #exec: Promise<ExecCredential> | undefined;
  #execResult: ExecCredential | undefined;
  #renewedAt = Number.NEGATIVE_INFINITY;

  constructor(options: CredentialOptions) {
    const { user } = options.access;
    this.#options = options;
    this.#tokenFile = user.tokenFile === undefined ? undefined : this.#rotated(user.tokenFile);
    this.#readCertificate = user.certificate && this.#pemReader(user.certificate.certificate);
    this.#readKey = user.certificate && this.#pemReader(user.certificate.key);
  }

  /** The Authorization header, or none. A static credential goes before a plugin's, as in client-go. Throws KubeconfigError. */
  async headers(): Promise<Record<string, string>> {
    const { token, basic } = this.#options.access.user;
    if (this.#tokenFile !== undefined) {
      const content = await this.#tokenFile.read(this.#tokenAge);
      this.#tokenAge = TOKEN_AGE_MS;
      return { authorization: `Bearer ${content.toString('utf8').trim()}` };
    }
    if (token !== undefined) return { authorization: `Bearer ${token}` };
    if (basic !== undefined) {
      return { authorization: `Basic ${Buffer.from(`${basic.username}:${basic.password}`).toString('base64')}` };
    }
    const execToken = (await this.#execCredential())?.token;
    return execToken === undefined ? {} : { authorization: `Bearer ${execToken}` };
  }

  /** The client certificate; its files are looked at anew if that last happened over `maxAge` milliseconds ago. */
  async certificate(maxAge: number): Promise<ClientCertificate | undefined> {
    if (this.#readCertificate === undefined || this.#readKey === undefined) {
      return (await this.#execCredential())?.certificate;
    }
    const [certificate, key] = await Promise.all([this.#readCertificate(maxAge), this.#readKey(maxAge)]);
    return { certificate, key };
  }

  /** Upstream answered 401. True if the next use fetches it anew, so that asking once more makes sense. */
  refused(): boolean {
    const { tokenFile, exec } = this.#options.access.user;
    if (tokenFile === undefined && exec === undefined) return false;
    if (performance.now() - this.#renewedAt < RENEWAL_PAUSE_MS) return false;
    this.#renewedAt = performance.now();
    this.#tokenAge = 0;
    this.#execResult = undefined;
    return true;
  }

  /** One run of the plugin for all who ask, kept until it expires. */
  async #execCredential(): Promise<ExecCredential | undefined> {
    const { access, env } = this.#options;
    const plugin = access.user.exec;
    if (plugin === undefined) return undefined;
    const held = this.#execResult;
    if (held !== undefined && (held.expiresAt === undefined || Date.now() < held.expiresAt)) return held;
    this.#exec ??= runExecPlugin({ plugin, access, env }).finally(() => (this.#exec = undefined));
    const fresh = await this.#exec;
    this.#execResult = fresh;
    return fresh;
  }

  #pemReader(source: PemSource): ReadPem {
    if (source.kind === 'data') return () => Promise.resolve(source.pem);
    const file = this.#rotated(source.path);
    return (maxAge) => file.read(maxAge);
  }

  #rotated(path: string): RotatedFile {
    return new RotatedFile({ path, onProblem: this.#options.onProblem });
  }
}
