import { JsonListScanner } from './json-list-scanner.ts';
import type { Encoding } from './lane.ts';
import { ProtobufListScanner } from './protobuf-list-scanner.ts';

/** What stands in a list beside its items. Absent strings are "". */
export interface ListEnd {
  readonly resourceVersion: string;
  /** Token of the next page; "" on the last. */
  readonly continue: string;
  readonly kind: string;
  readonly apiVersion: string;
}

/** Cuts the body of a LIST into its items while it arrives. */
export interface ListScanner {
  /**
   * Hands out each item that ends in this chunk: a view into the chunk, or a copy if it began in an earlier one.
   * Throws MalformedFrame or FrameTooLarge, after which (as after an error of `onItem`) the scanner is of no further use.
   */
  push(chunk: Buffer, onItem: (item: Buffer) => void): void;
  /** To be called at the end of the body. Throws MalformedFrame if it was cut short. */
  end(): ListEnd;
}

/** `maxItemBytes` bounds one item, and the list's metadata; nothing else is held. */
export function createListScanner(encoding: Encoding, maxItemBytes: number): ListScanner {
  return encoding === 'json' ? new JsonListScanner(maxItemBytes) : new ProtobufListScanner(maxItemBytes);
}
