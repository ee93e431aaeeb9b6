import { ConfigError, type ResolvedConfig } from '@dogwatch/process/config.ts';
import { type ConfigOf, defineOptions } from '@dogwatch/process/options.ts';
import { processOptions } from '@dogwatch/process/process-options.ts';
import { SyntaxProblem } from '@dogwatch/process/quantity.ts';

/** Every option of `dogwatch verify`, under kubectl's name where it has one. */
export const verifyOptions = defineOptions({
  kubeconfig: {
    type: 'path',
    mustExist: true,
    help: 'How to reach kube-apiserver itself, and as whom. Default: as kubectl finds it.',
  },
  context: { type: 'string', placeholder: 'NAME', help: 'Context in the kubeconfig. Default: its current one.' },
  url: {
    type: 'string',
    placeholder: 'URL',
    check: checkUrl,
    help: 'The dogwatch to compare with it, as https://HOST:PORT. It is shown the same credential.',
  },
  'certificate-authority': {
    type: 'path',
    mustExist: true,
    help: "PEM file with the authority of the dogwatch's certificate. Default: the machine's own.",
  },
  'insecure-skip-tls-verify': {
    type: 'bool',
    default: false,
    help: "Take any certificate of the dogwatch's: whoever answers there gets the credential.",
  },
  requests: { type: 'int', default: 2_000, min: 1, max: 10_000_000, help: 'Requests to send to each side.' },
  seed: {
    type: 'int',
    min: 0,
    max: 0xffff_ffff,
    help: 'What the requests are made from; the same again repeats them while the cluster holds the same. Default: random.',
  },
  only: { type: 'int', min: 0, max: 10_000_000, help: 'Send the request of this number alone.' },
  concurrency: {
    type: 'int',
    default: 16,
    min: 1,
    max: 256,
    help: 'Requests at once; of watches, four times as many.',
  },
  'tokens-file': {
    type: 'path',
    mustExist: true,
    help: 'Other users to ask as: lines of NAME TOKEN. What they may not do is asked for too.',
  },
  write: {
    type: 'bool',
    default: false,
    help: 'Also change things: objects in a namespace of its own, so that watches have events, and dry runs elsewhere.',
  },
  'write-resources': {
    type: 'list',
    default: ['configmaps', 'secrets', 'leases.coordination.k8s.io'],
    placeholder: 'RESOURCE[.GROUP],...',
    help: 'With --write, of what it makes objects in its namespace; where it knows no form, as copies of one that is there.',
  },
  'admin-url': {
    type: 'string',
    placeholder: 'URL',
    check: checkUrl,
    help: "The dogwatch's admin port, as http://127.0.0.1:6480, to count what came from its cache.",
  },
  'max-differences': { type: 'int', default: 100, min: 1, max: 100_000, help: 'Stop after so many.' },
  o: { type: 'enum', values: ['text', 'json'], default: 'text', help: 'Form of the report on standard output.' },
  config: processOptions.config,
  v: processOptions.v,
});

export type VerifyConfig = ConfigOf<typeof verifyOptions> & { readonly url: string };

/** Throws ConfigError where an option is missing or contradicts another. */
export function checkVerifyConfig({ config }: ResolvedConfig<typeof verifyOptions>): VerifyConfig {
  const { url } = config;
  if (url === undefined) {
    throw new ConfigError('MissingOption', '--url=URL is missing: the dogwatch to compare, as https://127.0.0.1:6443');
  }
  if (config.insecureSkipTlsVerify && config.certificateAuthority !== undefined) {
    throw new ConfigError(
      'ConflictingOptions',
      '--insecure-skip-tls-verify and --certificate-authority contradict each other; give one of them',
    );
  }
  if (config.only !== undefined && config.seed === undefined) {
    throw new ConfigError('MissingOption', '--only=N needs --seed=S: the number counts from a seed');
  }
  return { ...config, url };
}

function checkUrl(text: string): void {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new SyntaxProblem(`${JSON.stringify(text)} is not a URL such as https://127.0.0.1:6443`);
  }
}
