import { createHash, type X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { CertificateError, verifyClientChain } from './certificate-chain.ts';
import type { Connection } from './exchange.ts';
import { certificatesIn } from './pem.ts';
import type { User } from './user.ts';

export type ClientCaErrorCode = 'unreadable' | 'not_pem';

/** The file of client authorities cannot be used; the message says what to do. */
export class ClientCaError extends Error {
  override readonly name = 'ClientCaError';
  readonly code: ClientCaErrorCode;

  constructor(code: ClientCaErrorCode, message: string, options?: { cause: unknown }) {
    super(message, options);
    this.code = code;
  }
}

export interface CertificateAuthenticator {
  /**
   * Who the connection's certificate says it is; undefined without a certificate, or without a common name. Throws
   * CertificateError. The answer is kept for the connection until the chain expires or the authorities change.
   */
  authenticate(connection: Connection): Promise<User | undefined>;
}

interface CertificateAuthenticatorOptions {
  /** PEM bundle; looked at again at most once a minute. */
  readonly caFile: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** A connection's verdict and what it rests on. */
interface Verdict {
  readonly authorities: readonly X509Certificate[];
  readonly expiresAt: number;
  readonly identity: User | CertificateError | 'none';
}

const CHECK_INTERVAL_MS = 60_000;
/** A certificate that is refused is looked at again after this, as it may become valid. */
const RETRY_MS = 10_000;
const CREDENTIAL_ID = 'authentication.kubernetes.io/credential-id';
/** The subject attribute that holds a user's UID (AllowParsingUserUIDFromCertAuth, on since 1.33). */
const UID_ATTRIBUTE = '1.3.6.1.4.1.57683.2';

/** Verifies client certificates against `--client-ca-file`. Rejects with ClientCaError. */
export async function createCertificateAuthenticator(
  options: CertificateAuthenticatorOptions,
): Promise<CertificateAuthenticator> {
  const { caFile, clock } = options;
  const file = await readAuthorities(caFile);
  return new FileCertificateAuthenticator(options, { ...file, checkedAt: clock.now() });
}

interface AuthorityFile {
  readonly modifiedAt: number;
  readonly authorities: readonly X509Certificate[];
}

class FileCertificateAuthenticator implements CertificateAuthenticator {
  readonly #options: CertificateAuthenticatorOptions;
  readonly #verdicts = new WeakMap<Connection, Verdict>();
  #file: AuthorityFile;
  #checkedAt: number;
  #checking: Promise<void> | undefined;

  constructor(options: CertificateAuthenticatorOptions, { checkedAt, ...file }: AuthorityFile & { checkedAt: number }) {
    this.#options = options;
    this.#file = file;
    this.#checkedAt = checkedAt;
  }

  async authenticate(connection: Connection): Promise<User | undefined> {
    const presented = connection.peerCertificates();
    if (presented.length === 0) return undefined;
    await this.#freshAuthorities();
    const now = this.#options.clock.wall();
    const { authorities } = this.#file;
    let verdict = this.#verdicts.get(connection);
    if (verdict === undefined || verdict.authorities !== authorities || now >= verdict.expiresAt) {
      verdict = judge(presented, authorities, now);
      this.#verdicts.set(connection, verdict);
    }
    const { identity } = verdict;
    if (identity instanceof CertificateError) throw identity;
    return identity === 'none' ? undefined : identity;
  }

  #freshAuthorities(): Promise<void> | undefined {
    const { clock } = this.#options;
    if (this.#checking === undefined && clock.now() - this.#checkedAt >= CHECK_INTERVAL_MS) {
      this.#checking = this.#check().finally(() => {
        this.#checkedAt = clock.now();
        this.#checking = undefined;
      });
    }
    return this.#checking;
  }

  /** A file that has become unusable leaves the authorities as they are, as in kube-apiserver. */
  async #check(): Promise<void> {
    const { caFile, log } = this.#options;
    try {
      const { mtimeMs } = await stat(caFile);
      if (mtimeMs === this.#file.modifiedAt) return;
      this.#file = await readAuthorities(caFile);
      log.info({ caFile, authorities: this.#file.authorities.length }, 'client authorities loaded again');
    } catch (err) {
      log.warn({ err, caFile }, 'client authorities cannot be loaded again, the old ones stay');
    }
  }
}

/** Who a presented chain (leaf first) says its holder is. 'none': there is no certificate, or it names nobody. */
export function userFromCertificates(
  presented: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
  nowMs: number,
): User | 'none' | CertificateError {
  return judge(presented, authorities, nowMs).identity;
}

function judge(presented: readonly X509Certificate[], authorities: readonly X509Certificate[], nowMs: number): Verdict {
  const [leaf, ...rest] = presented;
  if (leaf === undefined) return { authorities, expiresAt: Infinity, identity: 'none' };
  try {
    const chain = verifyClientChain([leaf, ...rest], authorities, nowMs);
    // Valid through the second of notAfter.
    const expiresAt = Math.min(...chain.map((link) => link.validToDate.getTime() + 1));
    return { authorities, expiresAt, identity: userOf(leaf) };
  } catch (error) {
    if (!(error instanceof CertificateError)) throw error;
    return { authorities, expiresAt: nowMs + RETRY_MS, identity: error };
  }
}

/** As CommonNameUserConversion does: common name, organizations, UID attribute, fingerprint; and the group of all users. */
function userOf(certificate: X509Certificate): User | 'none' {
  const subject = certificate.toLegacyObject().subject as Readonly<Record<string, string | string[] | undefined>>;
  // Of several common names Go takes the last.
  const name = valuesOf(subject['CN']).at(-1) ?? '';
  if (name === '') return 'none';
  const uids = valuesOf(subject[UID_ATTRIBUTE]);
  if (uids.length > 1 || uids[0] === '') throw new CertificateError('invalid_uid');
  const fingerprint = createHash('sha256').update(certificate.raw).digest('hex');
  return {
    name,
    uid: uids[0] ?? '',
    groups: [...valuesOf(subject['O']), 'system:authenticated'],
    extra: { [CREDENTIAL_ID]: [`X509SHA256=${fingerprint}`] },
  };
}

function valuesOf(attribute: string | string[] | undefined): readonly string[] {
  if (attribute === undefined) return [];
  return typeof attribute === 'string' ? [attribute] : attribute;
}

async function readAuthorities(caFile: string): Promise<AuthorityFile> {
  let pem: string;
  let modifiedAt: number;
  try {
    ({ mtimeMs: modifiedAt } = await stat(caFile));
    pem = await readFile(caFile, 'latin1');
  } catch (cause) {
    throw new ClientCaError('unreadable', `cannot read the client authorities in ${caFile}: check --client-ca-file`, {
      cause,
    });
  }
  let authorities: readonly X509Certificate[] = [];
  let cause: unknown;
  try {
    authorities = certificatesIn(pem);
  } catch (error) {
    cause = error;
  }
  if (authorities.length > 0) return { modifiedAt, authorities };
  throw new ClientCaError('not_pem', `${caFile} holds no readable PEM certificate: check --client-ca-file`, { cause });
}
