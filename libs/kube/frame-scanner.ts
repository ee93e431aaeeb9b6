import { CarryBuffer } from './carry-buffer.ts';
import type { Encoding } from './lane.ts';

const NEWLINE = 0x0a;
const LENGTH_PREFIX = 4;
const DEFAULT_MAX_FRAME_BYTES = 64 * 1024 * 1024;

/** Longer than the scanner may hold. The stream cannot be followed further: close it, and raise the bound if it was an object. */
export class FrameTooLarge extends Error {
  readonly code = 'FrameTooLarge';

  constructor(maxBytes: number) {
    super(`a frame or list item exceeds the bound of ${maxBytes} bytes; close the stream or raise the bound`);
    this.name = 'FrameTooLarge';
  }
}

/** Cuts the body of a watch into frames (protocol rows F1 and F2). */
export interface FrameScanner {
  /**
   * Hands out each frame that ends in this chunk, its newline or length prefix included so that it can be sent on as it
   * is: a view into the chunk, or a copy if it began in an earlier one. Throws FrameTooLarge, after which (as after an
   * error of `onFrame`) the scanner is of no further use.
   */
  push(chunk: Buffer, onFrame: (frame: Buffer) => void): void;
  /** Bytes held of a frame whose end has not come. At the end of a stream anything but 0 means it was cut short. */
  readonly pendingBytes: number;
}

/** `maxFrameBytes` bounds one frame, newline or length prefix included. */
export function createFrameScanner(encoding: Encoding, maxFrameBytes = DEFAULT_MAX_FRAME_BYTES): FrameScanner {
  return encoding === 'json' ? new LineScanner(maxFrameBytes) : new LengthPrefixScanner(maxFrameBytes);
}

class LineScanner implements FrameScanner {
  readonly #maxFrameBytes: number;
  readonly #carry = new CarryBuffer();

  constructor(maxFrameBytes: number) {
    this.#maxFrameBytes = maxFrameBytes;
  }

  get pendingBytes(): number {
    return this.#carry.length;
  }

  push(chunk: Buffer, onFrame: (frame: Buffer) => void): void {
    let start = 0;
    while (start < chunk.length) {
      const newline = chunk.indexOf(NEWLINE, start);
      const end = newline === -1 ? chunk.length : newline + 1;
      if (this.#carry.length + end - start > this.#maxFrameBytes) throw new FrameTooLarge(this.#maxFrameBytes);
      const part = chunk.subarray(start, end);
      start = end;
      if (newline === -1) {
        this.#carry.append(part);
        return;
      }
      const frame = this.#carry.length === 0 ? part : this.#joined(part);
      if (!isBlank(frame)) onFrame(frame);
    }
  }

  #joined(lastPart: Buffer): Buffer {
    this.#carry.append(lastPart);
    return this.#carry.take();
  }
}

class LengthPrefixScanner implements FrameScanner {
  readonly #maxFrameBytes: number;
  readonly #carry = new CarryBuffer();

  constructor(maxFrameBytes: number) {
    this.#maxFrameBytes = maxFrameBytes;
  }

  get pendingBytes(): number {
    return this.#carry.length;
  }

  push(chunk: Buffer, onFrame: (frame: Buffer) => void): void {
    let start = this.#carry.length === 0 ? 0 : this.#finishCarried(chunk, onFrame);
    while (chunk.length - start >= LENGTH_PREFIX) {
      const end = start + this.#frameLength(chunk, start);
      if (end > chunk.length) break;
      const frame = chunk.subarray(start, end);
      start = end;
      onFrame(frame);
    }
    if (start < chunk.length) this.#carry.append(chunk.subarray(start));
  }

  /** Completes the frame begun in earlier chunks, as far as this one reaches; returns how much of it that took. */
  #finishCarried(chunk: Buffer, onFrame: (frame: Buffer) => void): number {
    const carry = this.#carry;
    let taken = 0;
    if (carry.length < LENGTH_PREFIX) {
      taken = Math.min(LENGTH_PREFIX - carry.length, chunk.length);
      carry.append(chunk.subarray(0, taken));
      if (carry.length < LENGTH_PREFIX) return taken;
    }
    const missing = this.#frameLength(carry.peek(), 0) - carry.length;
    const end = Math.min(taken + missing, chunk.length);
    carry.append(chunk.subarray(taken, end));
    if (end - taken === missing) onFrame(carry.take());
    return end;
  }

  #frameLength(bytes: Buffer, start: number): number {
    const length = LENGTH_PREFIX + bytes.readUInt32BE(start);
    if (length > this.#maxFrameBytes) throw new FrameTooLarge(this.#maxFrameBytes);
    return length;
  }
}

function isBlank(line: Buffer): boolean {
  for (const byte of line) {
    if (byte !== 0x20 && (byte < 0x09 || byte > 0x0d)) return false;
  }
  return true;
}
