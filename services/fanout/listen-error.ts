export type ListenErrorCode = 'port_in_use' | 'not_permitted' | 'no_such_address' | 'listen_failed';

const CODES: Readonly<Record<string, ListenErrorCode>> = {
  EADDRINUSE: 'port_in_use',
  EACCES: 'not_permitted',
  EPERM: 'not_permitted',
  EADDRNOTAVAIL: 'no_such_address',
  ENOTFOUND: 'no_such_address',
  EINVAL: 'no_such_address',
};

const ADVICE: Record<ListenErrorCode, string> = {
  port_in_use: 'another process has this port: end it, or choose another with --secure-port',
  not_permitted: 'ports below 1024 need privileges: choose another with --secure-port',
  no_such_address: 'this machine has no such address: choose another with --bind-address',
  listen_failed: 'see the cause',
};

/** The server cannot listen where it should; the message says what to do. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  readonly code: ListenErrorCode;

  constructor(code: ListenErrorCode, address: string, port: number, options?: { cause: unknown }) {
    super(`cannot listen on ${address} port ${port}: ${ADVICE[code]}`, options);
    this.code = code;
  }

  static from(cause: unknown, address: string, port: number): ListenError {
    const system = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    return new ListenError(CODES[system] ?? 'listen_failed', address, port, { cause });
  }
}
