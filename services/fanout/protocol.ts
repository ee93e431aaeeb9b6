import type { ClientConnection } from './client-connection.ts';

/** HTTP/1.1 or HTTP/2, for sockets whose handshake chose it. */
export interface Protocol {
  accept(connection: ClientConnection): ProtocolConnection;
  /** Ends its own timers; connections are the server's. */
  close(): void;
}

/** What the server does with a connection of either protocol. */
export interface ProtocolConnection {
  /** No further requests: those being answered go on, and then the connection ends. */
  drain(): void;
  /** Called about once a second with the monotonic time; cuts it if it is dead. */
  check(now: number): void;
}
