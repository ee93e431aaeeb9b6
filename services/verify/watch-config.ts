import type { GroupVersionResource } from '@dogwatch/kube/group-resource.ts';
import { parseLabelSelector } from '@dogwatch/kube/selector.ts';
import { ConfigError, type ResolvedConfig } from '@dogwatch/process/config.ts';
import { type ConfigOf, defineOptions } from '@dogwatch/process/options.ts';
import { SyntaxProblem } from '@dogwatch/process/quantity.ts';
import { verifyOptions } from './verify-config.ts';

/** Every option of `dogwatch verify watch`, under kubectl's name where it has one. */
export const watchOptions = defineOptions({
  kubeconfig: verifyOptions.kubeconfig,
  context: verifyOptions.context,
  url: {
    ...verifyOptions.url,
    help: 'The dogwatch to watch through, as https://HOST:PORT. It is shown the same credential.',
  },
  'certificate-authority': verifyOptions['certificate-authority'],
  'insecure-skip-tls-verify': verifyOptions['insecure-skip-tls-verify'],
  resource: {
    type: 'string',
    placeholder: 'GROUP/VERSION/RESOURCE',
    check: (text) => void parseResource(text),
    help: 'What to watch, as apps/v1/deployments or v1/pods. Best what changes by itself.',
  },
  namespace: { type: 'string', placeholder: 'NAME', help: 'Of one namespace only. Default: of all.' },
  selector: {
    type: 'string',
    placeholder: 'SELECTOR',
    check: checkSelector,
    help: 'Label selector every watch has, besides what it selects by itself.',
  },
  duration: { type: 'duration', default: '1m', min: '1s', max: '24h', help: 'How long to watch.' },
  watches: { type: 'int', default: 50, min: 1, max: 5_000, help: 'Watches at once through the dogwatch.' },
  config: verifyOptions.config,
  v: verifyOptions.v,
});

export type WatchConfig = Omit<ConfigOf<typeof watchOptions>, 'url' | 'resource'> & {
  readonly url: string;
  readonly resource: GroupVersionResource;
};

/** Throws ConfigError where an option is missing or contradicts another. */
export function checkWatchConfig({ config }: ResolvedConfig<typeof watchOptions>): WatchConfig {
  const { url, resource } = config;
  if (url === undefined) {
    throw new ConfigError('MissingOption', '--url=URL is missing: the dogwatch to check, as https://127.0.0.1:6443');
  }
  if (resource === undefined) {
    throw new ConfigError(
      'MissingOption',
      '--resource=G/V/R is missing: what to watch, as coordination.k8s.io/v1/leases',
    );
  }
  if (config.insecureSkipTlsVerify && config.certificateAuthority !== undefined) {
    throw new ConfigError(
      'ConflictingOptions',
      '--insecure-skip-tls-verify and --certificate-authority contradict each other; give one of them',
    );
  }
  return { ...config, url, resource: parseResource(resource) };
}

function parseResource(text: string): GroupVersionResource {
  const [resource = '', version = '', group = '', ...more] = text.split('/').toReversed();
  if (resource === '' || version === '' || more.length > 0) {
    throw new SyntaxProblem(`${JSON.stringify(text)} is not GROUP/VERSION/RESOURCE, as apps/v1/deployments or v1/pods`);
  }
  return { group, version, resource };
}

function checkSelector(text: string): void {
  try {
    parseLabelSelector(text);
  } catch (error) {
    throw new SyntaxProblem((error as Error).message);
  }
}
