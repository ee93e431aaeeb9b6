import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Connection } from './exchange.ts';
import { FlushBudget } from './flush-budget.ts';

/** Most certificates kept of what a client presented. */
const MAX_PRESENTED_CERTIFICATES = 10;

/** One accepted connection of either protocol. */
export class ClientConnection implements Connection {
  readonly remoteAddress: string;
  readonly socket: TLSSocket;
  readonly budget: FlushBudget;
  /** Set when no request after the current ones may come. */
  draining = false;
  /** Requests whose answer is not complete. */
  openExchanges = 0;
  readonly #certificates: readonly X509Certificate[];

  /** `socket` has finished its handshake. */
  constructor(socket: TLSSocket, budgetBytes: number) {
    this.socket = socket;
    this.remoteAddress = socket.remoteAddress ?? '';
    this.budget = new FlushBudget(budgetBytes);
    this.#certificates = presentedCertificates(socket);
  }

  peerCertificates(): readonly X509Certificate[] {
    return this.#certificates;
  }
}

/** Leaf first, as presented. Read once: Node hands the chain over only at the first call. */
function presentedCertificates(socket: TLSSocket): X509Certificate[] {
  const certificates: X509Certificate[] = [];
  let certificate = socket.getPeerX509Certificate();
  while (certificate !== undefined && certificates.length < MAX_PRESENTED_CERTIFICATES) {
    certificates.push(certificate);
    certificate = certificate.issuerCertificate;
  }
  return certificates;
}
