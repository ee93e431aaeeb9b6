import { ConfigError, type ResolvedConfig } from '@dogwatch/process/config.ts';
import { type ConfigOf, defineOptions } from '@dogwatch/process/options.ts';
import { SyntaxProblem } from '@dogwatch/process/quantity.ts';

/** How to reach NATS. */
export const natsOptions = defineOptions({
  'nats-servers': {
    type: 'list',
    default: [],
    required: true,
    placeholder: 'HOST:PORT,...',
    check: checkHostPort,
    help: 'NATS servers of one cluster, 2.11 or newer, with JetStream; IPv6 addresses in brackets.',
  },
  'nats-creds': {
    type: 'path',
    mustExist: true,
    help: 'Credentials file to sign in with (a JWT and its key, as nsc writes it).',
  },
  'nats-ca-file': {
    type: 'path',
    mustExist: true,
    help: 'PEM bundle of the authorities that sign the certificates of the servers; connections are then TLS.',
  },
  'nats-cert-file': { type: 'path', mustExist: true, help: 'PEM certificate to show to servers that ask for one.' },
  'nats-key-file': { type: 'path', mustExist: true, help: 'PEM private key of --nats-cert-file.' },
  'nats-prefix': {
    type: 'string',
    default: 'dogwatch',
    check: checkPrefix,
    help: 'First token of all subjects and streams; two dogwatches in one NATS account need different ones.',
  },
});

export type NatsConfig = ConfigOf<typeof natsOptions>;

/** Throws ConfigError where options of NATS contradict each other. */
export function checkNats({ config }: ResolvedConfig<typeof natsOptions>): void {
  const cert = config.natsCertFile !== undefined;
  if (cert === (config.natsKeyFile !== undefined)) return;
  const missing = cert ? 'the key' : 'the certificate';
  throw new ConfigError('ConflictingOptions', `--nats-cert-file and --nats-key-file go together; give ${missing} too`);
}

function checkHostPort(text: string): void {
  const port = /^(?:[\w.-]+|\[[\da-fA-F:.]+\]):(\d{1,5})$/.exec(text)?.[1];
  if (port !== undefined && Number(port) >= 1 && Number(port) <= 65_535) return;
  throw new SyntaxProblem(`${JSON.stringify(text)} is not HOST:PORT such as nats:4222 or [::1]:4222`);
}

/** A token of NATS subjects that is a name of JetStream streams as well. */
function checkPrefix(text: string): void {
  if (/^[\w-]{1,64}$/.test(text)) return;
  throw new SyntaxProblem(`${JSON.stringify(text)} is not 1 to 64 letters, digits, - and _`);
}
