/**
 * Bytes that are not what kube-apiserver writes. The message says where and what was expected, never what stood there:
 * it may be a Secret. Drop the stream or the request they came with, and read it anew.
 */
export class MalformedFrame extends Error {
  readonly code = 'MalformedFrame';

  constructor(expected: string, offset: number) {
    super(`malformed bytes from kube-apiserver: expected ${expected} at offset ${offset}; read the stream anew`);
    this.name = 'MalformedFrame';
  }
}
