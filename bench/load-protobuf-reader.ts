import { createFrameScanner, type FrameScanner } from '@dogwatch/kube/frame-scanner.ts';
import { scanObject } from '@dogwatch/kube/object-scanner.ts';
import { FieldReader } from '@dogwatch/kube/proto-wire.ts';
import { openUnknown } from '@dogwatch/kube/runtime-unknown.ts';
import { parseWatchFrame } from '@dogwatch/kube/watch-event.ts';
import type { LoadReader, LoadSink } from './load-reader.ts';
import { readProtobufStamp } from './written-stamp.ts';

/** Field of metav1.Status. */
const CODE = 6;

/** Cuts the body into length-prefixed frames and scans what is in them as a watch cache does. */
export class LoadProtobufReader implements LoadReader {
  readonly #sink: LoadSink;
  #scanner: FrameScanner = createFrameScanner('protobuf');

  constructor(sink: LoadSink) {
    this.#sink = sink;
  }

  restart(): void {
    this.#scanner = createFrameScanner('protobuf');
  }

  read(chunk: Buffer, now: number): void {
    this.#scanner.push(chunk, (frame) => this.#frame(frame, now));
  }

  #frame(frame: Buffer, now: number): void {
    const { type, object } = parseWatchFrame('protobuf', frame);
    if (type === 'ERROR') return this.#sink.error(statusCode(object));
    const { resourceVersion, initialEventsEnd } = scanObject('protobuf', object);
    if (type === 'BOOKMARK') return this.#sink.bookmark(resourceVersion, initialEventsEnd);
    if (!this.#sink.change(resourceVersion)) return;
    const stamp = readProtobufStamp(object);
    if (stamp !== undefined) this.#sink.written(stamp, now);
  }
}

/** The code of a metav1.Status. */
function statusCode(status: Buffer): number | undefined {
  const { rawStart, rawEnd } = openUnknown(status);
  const fields = new FieldReader(status, rawStart, rawEnd);
  while (fields.next()) if (fields.field === CODE) return Number(fields.int());
  return undefined;
}
