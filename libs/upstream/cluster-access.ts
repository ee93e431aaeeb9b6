/** A PEM document: in the kubeconfig itself, or in a file that may be rotated while dogwatch runs. */
export type PemSource =
  | { readonly kind: 'data'; readonly pem: Buffer }
  | { readonly kind: 'file'; readonly path: string };

/** A credential plugin (client.authentication.k8s.io), as client-go runs it. */
export interface ExecPlugin {
  readonly apiVersion: 'client.authentication.k8s.io/v1' | 'client.authentication.k8s.io/v1beta1';
  /** A name to be found in PATH, or an absolute path. */
  readonly command: string;
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly installHint: string | undefined;
  /** How the plugin may be run by others; dogwatch always runs it without a terminal. */
  readonly interactiveMode: 'Never' | 'IfAvailable';
  readonly provideClusterInfo: boolean;
  /** The cluster's EXEC_EXTENSION, handed to the plugin as it is. */
  readonly clusterConfig: unknown;
}

/** Name of the cluster extension that is handed to exec plugins. */
export const EXEC_EXTENSION = 'client.authentication.k8s.io/exec';

/** Who dogwatch is towards kube-apiserver. All absent: anonymous. */
export interface ClusterUser {
  readonly token: string | undefined;
  /** Goes before `token`; re-read every minute. */
  readonly tokenFile: string | undefined;
  readonly basic: { readonly username: string; readonly password: string } | undefined;
  readonly certificate: { readonly certificate: PemSource; readonly key: PemSource } | undefined;
  readonly exec: ExecPlugin | undefined;
}

/** Everything needed to talk to one cluster; paths are absolute. Holds secrets: never log it. */
export interface ClusterAccess {
  /** Where it was found, for messages: a context and its file, or "in-cluster". */
  readonly source: string;
  /** http or https; the pathname (without trailing slash) is the prefix of every path. */
  readonly server: URL;
  readonly tlsServerName: string | undefined;
  readonly insecureSkipTlsVerify: boolean;
  /** Absent: the machine's own authorities. */
  readonly certificateAuthority: PemSource | undefined;
  readonly user: ClusterUser;
}

/** The path prefix of a server address: "" or "/prefix". */
export function serverPrefix(server: URL): string {
  return server.pathname.replace(/\/+$/, '');
}
