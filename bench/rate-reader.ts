import { type ClientHttp2Session, connect } from 'node:http2';
import { createFrameScanner, type FrameScanner } from '@dogwatch/kube/frame-scanner.ts';
import { laneAccept, type Encoding } from '@dogwatch/kube/lane.ts';
import { scanObject } from '@dogwatch/kube/object-scanner.ts';
import { parseWatchFrame } from '@dogwatch/kube/watch-event.ts';

export interface RateReaderOptions {
  readonly server: string;
  readonly ca: string;
  readonly token: string;
  /** The watch, without its query. */
  readonly path: string;
  readonly query: string;
  readonly encoding: Encoding;
}

const SESSION_WINDOW = 64 * 1024 * 1024;

/**
 * A raw reader of one watch over HTTP/2: it cuts the stream into frames and counts them, and reads the version of each
 * where it stands, which in objects of one length is always the same place. As little as a reader can do.
 */
export class RateReader {
  events = 0;
  bytes = 0;
  /** Versions that were not the one after the last: with one writer and no other resource, lost or repeated events. */
  gaps = 0;
  readonly #session: ClientHttp2Session;
  readonly #scanner: FrameScanner;
  readonly #encoding: Encoding;
  /** Length of the frames whose version was looked up last, and where it stands in them. */
  #length = 0;
  #versionAt = 0;
  #versionEnd = 0;
  #last = 0;
  readonly #ended: Promise<void>;

  private constructor(options: RateReaderOptions, opened: (error?: Error) => void) {
    const { server, ca, token, path, query, encoding } = options;
    this.#encoding = encoding;
    this.#scanner = createFrameScanner(encoding);
    this.#session = connect(server, { ca, settings: { initialWindowSize: SESSION_WINDOW, enablePush: false } });
    this.#session.on('connect', () => this.#session.setLocalWindowSize(SESSION_WINDOW));
    this.#session.on('error', opened);
    const accept = laneAccept({ group: '', version: '', resource: '', encoding, view: 'object' }, false);
    const request = this.#session.request({ ':path': `${path}?${query}`, accept, authorization: `Bearer ${token}` });
    request.on('response', ({ ':status': status }) => {
      if (status !== 200) opened(new Error(`HTTP ${status} from ${server}${path}`));
      request.on('data', (chunk: Buffer) => this.#read(chunk));
      opened();
    });
    request.on('error', opened);
    this.#ended = new Promise((resolve) => request.on('close', () => resolve()));
  }

  /** Resolves when the server has answered 200. */
  static open(options: RateReaderOptions): Promise<RateReader> {
    return new Promise((resolve, reject) => {
      const reader: RateReader = new RateReader(options, (error) => {
        if (error === undefined) resolve(reader);
        else reject(error);
      });
    });
  }

  /** Resolves when the watch has ended. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  reset(): void {
    this.events = 0;
    this.bytes = 0;
    this.gaps = 0;
  }

  close(): void {
    this.#session.destroy();
  }

  #read(chunk: Buffer): void {
    this.bytes += chunk.length;
    this.#scanner.push(chunk, (frame) => this.#frame(frame));
  }

  #frame(frame: Buffer): void {
    this.events += 1;
    if (frame.length !== this.#length) this.#locateVersion(frame);
    let version = 0;
    for (let at = this.#versionAt; at < this.#versionEnd; at += 1) version = version * 10 + (frame[at] ?? 0) - 0x30;
    if (this.#last !== 0 && version !== this.#last + 1) this.gaps += 1;
    this.#last = version;
  }

  #locateVersion(frame: Buffer): void {
    const { object } = parseWatchFrame(this.#encoding, frame);
    const { rvStart, rvEnd } = scanObject(this.#encoding, object);
    const start = object.byteOffset - frame.byteOffset;
    this.#length = frame.length;
    this.#versionAt = start + rvStart;
    this.#versionEnd = start + rvEnd;
  }
}
