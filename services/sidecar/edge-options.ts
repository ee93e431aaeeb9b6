import { join } from 'node:path';
import { ConfigError, type ResolvedConfig } from '@dogwatch/process/config.ts';
import { type ConfigOf, defineOptions } from '@dogwatch/process/options.ts';
import { type processOptions, STATE_DIRECTORY, stateDirectory } from '@dogwatch/process/process-options.ts';

/** How long a request waits for a lane to open, before it is told to come again. */
export const LANE_OPEN_TIMEOUT_MS = 10_000;

/** The way to kube-apiserver. */
export const upstreamOptions = defineOptions({
  kubeconfig: {
    type: 'path',
    mustExist: true,
    help: 'Kubeconfig of the cluster to stand in front of. Without it: $KUBECONFIG, then the service account of the pod, then ~/.kube/config.',
  },
  context: {
    type: 'string',
    placeholder: 'NAME',
    help: 'Context of the kubeconfig to use instead of its current one.',
  },
  'upstream-timeout': {
    type: 'duration',
    default: '30s',
    min: '1s',
    max: '10m',
    help: 'How long a connection to kube-apiserver, or the head of an answer to a request dogwatch itself makes, may take.',
  },
});

/** How the API is served, to whom and to how many. */
export const servingOptions = defineOptions({
  'bind-address': {
    type: 'address',
    default: '0.0.0.0',
    help: 'IP address to serve the API on; :: for IPv6 and IPv4.',
  },
  'secure-port': {
    type: 'int',
    default: 6443,
    min: 0,
    max: 65_535,
    placeholder: 'PORT',
    help: 'Port to serve the API on, HTTP/1.1 and HTTP/2 over TLS; 0 takes a free one.',
  },
  'tls-cert-file': {
    type: 'path',
    mustExist: true,
    help: 'PEM certificate to serve with, intermediates after it. Without it dogwatch makes its own, see --cert-dir.',
  },
  'tls-private-key-file': { type: 'path', mustExist: true, help: 'PEM private key of --tls-cert-file.' },
  'tls-san': {
    type: 'list',
    default: [],
    placeholder: 'NAME,IP,...',
    help: 'More names and IP addresses for the certificate dogwatch makes, besides localhost and those of the machine.',
  },
  'cert-dir': {
    type: 'path',
    placeholder: 'DIR',
    default: { from: (env) => join(stateDirectory(env), 'certs'), shown: `${STATE_DIRECTORY}/certs` },
    help: 'Where the certificate authority and the certificate that dogwatch makes are kept.',
  },
  'client-ca-file': {
    type: 'path',
    mustExist: true,
    help: 'PEM bundle of certificate authorities; a client certificate that one of them signed names the user (CN) and groups (O).',
  },
  'write-kubeconfig': {
    type: 'path',
    help: 'Writes a kubeconfig that leads to dogwatch, with the same user, once it listens.',
  },
  'bookmark-interval': {
    type: 'duration',
    default: '60s',
    min: '1s',
    max: '10m',
    help: 'How often a watch that asked for bookmarks gets one.',
  },
  'review-cache-ttl': {
    type: 'duration',
    default: '10s',
    min: '0s',
    max: '5m',
    help: 'How long an answer about who somebody is (TokenReview) and what they may do (SubjectAccessReview) is used again.',
  },
  'reauthorize-interval': {
    type: 'duration',
    default: '5m',
    min: '1s',
    max: '1h',
    help: 'How often the rights of an open watch are checked again.',
  },
  'max-connections': {
    type: 'int',
    default: 20_000,
    min: 1,
    max: 1_000_000,
    help: 'Most client connections at once; more are closed as they come. The limit of open files must allow them.',
  },
  'goaway-chance': {
    type: 'number',
    default: 0,
    min: 0,
    max: 0.02,
    placeholder: 'FRACTION',
    help: 'Share of HTTP/2 requests whose connection takes no more of them (GOAWAY) once they are answered, so that clients spread anew over the servers behind a load balancer. What is open goes on. Leave it at 0 without a load balancer.',
  },
});

/** How much of the past is kept. */
export const historyOptions = defineOptions({
  'window-bytes': {
    type: 'bytes',
    default: '64Mi',
    min: '1Mi',
    max: '16Gi',
    help: 'Most bytes of past events kept for each resource and encoding in use, from which watches resume.',
  },
  'tombstone-bytes': {
    type: 'bytes',
    default: '16Mi',
    min: '64Ki',
    max: '1Gi',
    help: 'Most bytes of deleted objects kept beyond that, for watches that resume from further back.',
  },
});

/** Which lanes are read upstream, and for how long. */
export const laneOptions = defineOptions({
  'max-lanes': {
    type: 'int',
    default: 500,
    min: 1,
    max: 10_000,
    help: 'Most resources (times encodings) watched upstream at once; requests that need one more are answered 429.',
  },
  'lane-idle-timeout': {
    type: 'duration',
    default: '10m',
    min: '10s',
    max: '168h',
    help: 'How long a resource is still watched upstream after its last client left.',
  },
});

/** What every API edge has to be told. */
type EdgeOptions = typeof upstreamOptions & typeof servingOptions & typeof processOptions;

export type UpstreamConfig = ConfigOf<typeof upstreamOptions>;
export type EdgeConfig = ConfigOf<EdgeOptions>;

/** Throws ConfigError where options of the edge contradict each other. */
export function checkEdge(resolved: ResolvedConfig<EdgeOptions>): void {
  const { config } = resolved;
  const cert = config.tlsCertFile !== undefined;
  if (cert !== (config.tlsPrivateKeyFile !== undefined)) {
    throw conflict(
      `--tls-cert-file and --tls-private-key-file go together; give ${cert ? 'the key' : 'the certificate'} too`,
    );
  }
  for (const name of ['cert-dir', 'tls-san'] as const) {
    if (cert && resolved.given(name)) {
      throw conflict(`--${name} is for the certificate dogwatch makes; leave it out with --tls-cert-file, or that`);
    }
  }
  if (config.securePort !== 0 && config.securePort === config.adminPort) {
    throw conflict(`--secure-port and --admin-port are both ${config.securePort}; choose another for one of them`);
  }
}

function conflict(message: string): ConfigError {
  return new ConfigError('ConflictingOptions', message);
}
