import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { Endpoint } from './kube-client.ts';

/** A TCP proxy on loopback whose connections can be cut and refused for a while. TLS passes through untouched. */
export class BreakableProxy {
  readonly #server: Server;
  readonly #target: number;
  readonly #sockets = new Set<Socket>();
  #broken = false;

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** In front of `endpoint`, which must be on 127.0.0.1. */
  static async before(endpoint: Pick<Endpoint, 'server'>): Promise<BreakableProxy> {
    const proxy = new BreakableProxy(Number(new URL(endpoint.server).port));
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get server(): string {
    return `https://${this.address}`;
  }

  /** `HOST:PORT`. */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Cuts all connections (RST) and refuses new ones in the same way. */
  break(): void {
    this.#broken = true;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  mend(): void {
    this.#broken = false;
  }

  close(): void {
    this.break();
    this.#server.close();
  }

  #accept(client: Socket): void {
    if (this.#broken) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(this.#target, '127.0.0.1');
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  }
}
