import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { UpstreamInterrupted } from './upstream-error.ts';

export interface ResponseBodyOptions {
  /** The body as node:http or node:http2 gives it. */
  readonly source: Readable;
  /** The content-encoding header. */
  readonly encoding: string | undefined;
  /** Asked at its 'end': whether that is the end which upstream meant. */
  readonly complete: () => boolean;
  /** Ends the request upstream. */
  readonly cancel: () => void;
  readonly signal: AbortSignal;
  /** host:port, for messages. */
  readonly host: string;
}

/**
 * The body with one meaning of its end, whatever carries it: 'end' where upstream ended it, else 'error'. (Node
 * ends or just closes an HTTP/2 stream whose connection is lost.) gzip is undone, also in several members, which is how
 * kube-apiserver 1.37 sends a watch-list (N6).
 */
export function responseBody({ source, encoding, ...rest }: ResponseBodyOptions): Readable {
  const decoded = encoding === 'gzip' ? gunzip(source) : source;
  return new ResponseBody({ source: decoded, ...rest });
}

function gunzip(source: Readable): Readable {
  // The result is read by ResponseBody, which sees its errors.
  return pipeline(source, createGunzip(), () => undefined);
}

class ResponseBody extends Readable {
  readonly #source: Readable;
  readonly #cancel: () => void;
  readonly #signal: AbortSignal;
  readonly #onAbort: () => void;

  constructor({ source, complete, cancel, signal, host }: Omit<ResponseBodyOptions, 'encoding'>) {
    super();
    this.#source = source;
    this.#cancel = cancel;
    this.#signal = signal;
    this.#onAbort = () => this.destroy(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    const interrupted = (cause?: unknown) =>
      this.destroy(
        new UpstreamInterrupted(`the connection to kube-apiserver at ${host} broke in the middle of an answer`, {
          cause,
        }),
      );
    source.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) source.pause();
    });
    source.once('end', () => {
      if (complete()) this.push(null);
      else interrupted();
    });
    source.on('error', interrupted);
    source.once('close', () => {
      if (!source.readableEnded) interrupted();
    });
    source.pause();
    // Whoever reads sees the error. That an answer breaks which nobody reads must not end the process.
    this.on('error', () => undefined);
    if (signal.aborted) this.#onAbort();
    else signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  override _read(): void {
    this.#source.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#signal.removeEventListener('abort', this.#onAbort);
    if (!this.#source.readableEnded) this.#cancel();
    callback(error);
  }
}
