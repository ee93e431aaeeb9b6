import type { Encoding } from './lane.ts';
import { decodeStatusProtobuf } from './status-protobuf.ts';
import type { StatusBody } from './status.ts';

/** The metav1.Status in an ERROR event or an answer. Throws MalformedFrame or SyntaxError if it is none. */
export function decodeStatus(encoding: Encoding, object: Buffer): StatusBody {
  return encoding === 'json' ? (JSON.parse(object.toString()) as StatusBody) : decodeStatusProtobuf(object);
}
