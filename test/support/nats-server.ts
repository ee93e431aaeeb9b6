import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assetPath } from './assets.ts';
import type { KeyPair } from './certificates.ts';
import { Child } from './child.ts';
import { GiveUp, eventually } from './eventually.ts';
import { freePorts } from './free-ports.ts';
import type { NatsAccounts } from './nats-accounts.ts';

const READY_TIMEOUT_MS = 30_000;

export interface NatsServersOptions {
  /** Three form a cluster whose JetStream has a quorum without one of them. */
  readonly count: 1 | 3;
  /** Default: the server's own, 1 MiB. */
  readonly maxPayloadBytes?: number;
  /** Clients come by TLS; with `clientCa` only those that have a certificate of that authority. */
  readonly tls?: KeyPair & { readonly clientCa?: string };
  /** Clients sign in with the credentials of a user of these. */
  readonly accounts?: NatsAccounts;
}

interface Ports {
  readonly client: number;
  readonly monitor: number;
  readonly cluster: number;
}

/** Real nats-servers with JetStream on 127.0.0.1; ports and stores survive a restart. */
export class NatsServers {
  readonly servers: readonly NatsServer[];
  readonly #directory: string;

  private constructor(servers: readonly NatsServer[], directory: string) {
    this.servers = servers;
    this.#directory = directory;
  }

  /** Resolves when all are healthy, their JetStream included. Throws AssetError if nats-server is not built. */
  static async start(options: NatsServersOptions): Promise<NatsServers> {
    const { count } = options;
    const directory = await mkdtemp(join(tmpdir(), 'dogwatch-nats-'));
    const numbers = await freePorts(3 * count);
    const ports = Array.from({ length: count }, (_, i) => {
      const [client = 0, monitor = 0, cluster = 0] = numbers.slice(3 * i);
      return { client, monitor, cluster };
    });
    const routes = count === 1 ? [] : ports.map(({ cluster }) => `nats://127.0.0.1:${cluster}`);
    const servers = ports.map((its, i) => new NatsServer(`nats-${i}`, directory, its));
    const started = new NatsServers(servers, directory);
    try {
      await Promise.all(servers.map((server) => server.configure(routes, options)));
      await Promise.all(servers.map((server) => server.start()));
    } catch (error) {
      await started.close();
      throw error;
    }
    return started;
  }

  /** The first server, or the only one. */
  get first(): NatsServer {
    return this.servers[0]!;
  }

  /** Addresses of all, as a client takes them. */
  get addresses(): string[] {
    return this.servers.map(({ address }) => address);
  }

  /** Ends all and removes their stores. */
  async close(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill9()));
    await rm(this.#directory, { recursive: true, force: true });
  }
}

export class NatsServer {
  readonly name: string;
  readonly #directory: string;
  readonly #ports: Ports;
  #child: Child | undefined;

  constructor(name: string, directory: string, ports: Ports) {
    this.name = name;
    this.#directory = directory;
    this.#ports = ports;
  }

  get port(): number {
    return this.#ports.client;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Where it tells about its connections and streams over HTTP. */
  get monitor(): string {
    return `http://127.0.0.1:${this.#ports.monitor}`;
  }

  /** Undefined before it was started. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Writes what the next `start` goes by. */
  async configure(routes: readonly string[], options: Omit<NatsServersOptions, 'count'>): Promise<void> {
    const { maxPayloadBytes, tls, accounts } = options;
    const { client, monitor, cluster } = this.#ports;
    await mkdir(join(this.#directory, this.name), { recursive: true });
    const lines = [
      `server_name: ${this.name}`,
      `listen: 127.0.0.1:${client}`,
      `http: 127.0.0.1:${monitor}`,
      ...(tls === undefined ? [] : await this.#tlsLines(tls)),
      ...(accounts?.config ?? []),
      ...(maxPayloadBytes === undefined ? [] : [`max_payload: ${maxPayloadBytes}`]),
      `lame_duck_grace_period: "100ms"`,
      `jetstream { store_dir: ${JSON.stringify(join(this.#directory, this.name))} }`,
      ...(routes.length === 0
        ? []
        : [`cluster { name: dogwatch, listen: 127.0.0.1:${cluster}, routes: [${routes.join(', ')}] }`]),
    ];
    await writeFile(this.#path('conf'), `${lines.join('\n')}\n`);
  }

  /** Resolves when it is healthy: with its cluster, and JetStream's log caught up. */
  async start(): Promise<void> {
    const child = await Child.start({
      name: this.name,
      command: assetPath('nats-server'),
      args: ['-c', this.#path('conf')],
      logFile: this.#path('log'),
    });
    this.#child = child;
    await eventually({ what: `${this.name} is healthy`, timeoutMs: READY_TIMEOUT_MS, everyMs: 20 }, async () => {
      try {
        child.assertAlive();
      } catch (error) {
        throw new GiveUp(error);
      }
      return (await fetch(`${this.monitor}/healthz`)).ok;
    });
  }

  async kill9(): Promise<void> {
    await this.#child?.kill9();
  }

  /** Removes its streams, as if its disk was lost; it must not run. */
  async wipe(): Promise<void> {
    await rm(join(this.#directory, this.name), { recursive: true });
  }

  /** SIGTERM: JetStream leaders step down, clients are cut. */
  async stop(): Promise<void> {
    await this.#child?.stop();
  }

  /** Tells clients to go elsewhere, and cuts those that stay, over the next 30 s. */
  lameDuck(): void {
    this.#child?.signal('SIGUSR2');
  }

  /** Holds the process still, as a machine that hangs does; `thaw` lets it go on. */
  freeze(): void {
    this.#child?.signal('SIGSTOP');
  }

  thaw(): void {
    this.#child?.signal('SIGCONT');
  }

  async #tlsLines({ certificate, privateKey, clientCa }: NonNullable<NatsServersOptions['tls']>): Promise<string[]> {
    const texts = { crt: certificate, key: privateKey, ...(clientCa === undefined ? {} : { ca: clientCa }) };
    for (const [extension, text] of Object.entries(texts))
      await writeFile(this.#path(extension), text, { mode: 0o600 });
    const path = (extension: string): string => JSON.stringify(this.#path(extension));
    const verify = clientCa === undefined ? '' : `, ca_file: ${path('ca')}, verify: true`;
    return [`tls { cert_file: ${path('crt')}, key_file: ${path('key')}${verify} }`];
  }

  #path(extension: string): string {
    return join(this.#directory, `${this.name}.${extension}`);
  }
}
