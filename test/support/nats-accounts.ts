import { type KeyObject, generateKeyPairSync, randomUUID, sign } from 'node:crypto';

/** First bytes of a public nkey, so that its text begins with O, A or U. */
const PREFIXES = { operator: 14 << 3, account: 0, user: 20 << 3 };
const SEED_PREFIX = 18 << 3;
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const NO_LIMITS = { subs: -1, data: -1, payload: -1 };

type Role = keyof typeof PREFIXES;

/** What `nsc` makes: an operator with one account, whose users sign in with credentials files. */
export class NatsAccounts {
  readonly #operator = new NKey('operator');
  readonly #account = new NKey('account');
  readonly #system = new NKey('account');
  readonly #operatorJwt = token(this.#operator, this.#operator, {});

  /** Lines of a server's configuration. */
  get config(): string[] {
    const limits = { ...NO_LIMITS, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
    const jetStream = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
    const accounts = [
      `${this.#account.publicKey}: ${token(this.#operator, this.#account, { limits: { ...limits, ...jetStream } })}`,
      `${this.#system.publicKey}: ${token(this.#operator, this.#system, { limits })}`,
    ];
    return [
      `operator: ${this.#operatorJwt}`,
      `system_account: ${this.#system.publicKey}`,
      'resolver: MEMORY',
      `resolver_preload: { ${accounts.join(', ')} }`,
    ];
  }

  /** Text of a credentials file for a new user. */
  credentials(): string {
    const user = new NKey('user');
    const jwt = token(this.#account, user, { ...NO_LIMITS, pub: {}, sub: {} });
    return [
      '-----BEGIN NATS USER JWT-----',
      jwt,
      '------END NATS USER JWT------',
      '',
      '-----BEGIN USER NKEY SEED-----',
      user.seed,
      '------END USER NKEY SEED------',
      '',
    ].join('\n');
  }
}

/** An Ed25519 key in the form NATS writes it. */
class NKey {
  readonly role: Role;
  readonly publicKey: string;
  readonly seed: string;
  readonly #privateKey: KeyObject;

  constructor(role: Role) {
    this.role = role;
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32);
    const seed = privateKey.export({ type: 'pkcs8', format: 'der' }).subarray(-32);
    const prefix = PREFIXES[role];
    this.publicKey = encoded(Buffer.concat([Buffer.from([prefix]), raw]));
    this.seed = encoded(Buffer.concat([Buffer.from([SEED_PREFIX | (prefix >> 5), (prefix & 31) << 3]), seed]));
    this.#privateKey = privateKey;
  }

  sign(text: string): string {
    return sign(undefined, Buffer.from(text), this.#privateKey).toString('base64url');
  }
}

function token(issuer: NKey, subject: NKey, claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = [
    part({ typ: 'JWT', alg: 'ed25519-nkey' }),
    part({
      jti: randomUUID(),
      iat: Math.floor(Date.now() / 1000),
      iss: issuer.publicKey,
      name: subject.role,
      sub: subject.publicKey,
      nats: { ...claims, type: subject.role, version: 2 },
    }),
  ].join('.');
  return `${text}.${issuer.sign(text)}`;
}

/** Base32 of `bytes` and their CRC-16 (XMODEM). */
function encoded(bytes: Buffer): string {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
  }
  const all = Buffer.concat([bytes, Buffer.from([crc & 0xff, crc >> 8])]);
  const bits = Array.from(all, (byte) => byte.toString(2).padStart(8, '0')).join('');
  return bits.replaceAll(/.{1,5}/g, (five) => BASE32.charAt(Number.parseInt(five.padEnd(5, '0'), 2)));
}
