import type { Encoding } from './lane.ts';
import { openUnknown } from './runtime-unknown.ts';
import { FieldReader } from './proto-wire.ts';
import type { StatusBody, StatusCause, StatusDetails } from './status.ts';

/** The metav1.Status in an ERROR event or an answer. Throws MalformedFrame or SyntaxError if it is none. */
export function decodeStatus(encoding: Encoding, object: Buffer): StatusBody {
  return encoding === 'json' ? (JSON.parse(object.toString()) as StatusBody) : decodeProtobuf(object);
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function decodeProtobuf(object: Buffer): StatusBody {
  const { rawStart, rawEnd } = openUnknown(object);
  const reader = new FieldReader(object, rawStart, rawEnd);
  const status: Mutable<StatusBody> = { status: 'Failure' };
  while (reader.next()) {
    if (reader.field === 2) status.status = reader.text() === 'Success' ? 'Success' : 'Failure';
    else if (reader.field === 3) status.message = reader.text();
    else if (reader.field === 4) status.reason = reader.text();
    else if (reader.field === 5) status.details = details(reader.message());
    else if (reader.field === 6) status.code = Number(reader.int());
  }
  return status;
}

function details(reader: FieldReader): StatusDetails {
  const found: Mutable<StatusDetails> = {};
  const causes: StatusCause[] = [];
  while (reader.next()) {
    if (reader.field === 1) found.name = reader.text();
    else if (reader.field === 2) found.group = reader.text();
    else if (reader.field === 3) found.kind = reader.text();
    else if (reader.field === 4) causes.push(cause(reader.message()));
    else if (reader.field === 5) found.retryAfterSeconds = Number(reader.int());
    else if (reader.field === 6) found.uid = reader.text();
  }
  return causes.length === 0 ? found : { ...found, causes };
}

function cause(reader: FieldReader): StatusCause {
  const found: Mutable<StatusCause> = {};
  while (reader.next()) {
    if (reader.field === 1) found.reason = reader.text();
    else if (reader.field === 2) found.message = reader.text();
    else if (reader.field === 3) found.field = reader.text();
  }
  return found;
}
