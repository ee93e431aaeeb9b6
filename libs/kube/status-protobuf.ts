import { FieldReader } from './proto-wire.ts';
import { openUnknown } from './runtime-unknown.ts';
import type { StatusBody, StatusCause, StatusDetails } from './status.ts';

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

/** Reads a Status with its `k8s\0` envelope: the body of a refusal, or the object of an ERROR event. Throws MalformedFrame. */
export function decodeStatusProtobuf(object: Buffer): StatusBody {
  const { rawStart, rawEnd } = openUnknown(object);
  const fields = new FieldReader(object, rawStart, rawEnd);
  const status: Writable<StatusBody> = { status: 'Failure' };
  while (fields.next()) {
    if (fields.field === 1) status.metadata = decodeListMeta(fields.message());
    else if (fields.field === 2) status.status = fields.text() === 'Success' ? 'Success' : 'Failure';
    else if (fields.field === 3) status.message = fields.text();
    else if (fields.field === 4) status.reason = fields.text();
    else if (fields.field === 5) status.details = decodeDetails(fields.message());
    else if (fields.field === 6) status.code = Number(fields.int());
  }
  return status;
}

function decodeListMeta(fields: FieldReader): { continue?: string } {
  let token = '';
  while (fields.next()) if (fields.field === 3) token = fields.text();
  return token === '' ? {} : { continue: token };
}

function decodeDetails(fields: FieldReader): StatusDetails {
  const details: Writable<StatusDetails> = {};
  const causes: StatusCause[] = [];
  while (fields.next()) {
    if (fields.field === 1) details.name = fields.text();
    else if (fields.field === 2) details.group = fields.text();
    else if (fields.field === 3) details.kind = fields.text();
    else if (fields.field === 4) causes.push(decodeCause(fields.message()));
    else if (fields.field === 5) details.retryAfterSeconds = Number(fields.int());
    else if (fields.field === 6) details.uid = fields.text();
  }
  return causes.length === 0 ? details : { ...details, causes };
}

function decodeCause(fields: FieldReader): StatusCause {
  const cause: Writable<StatusCause> = {};
  while (fields.next()) {
    if (fields.field === 1) cause.reason = fields.text();
    else if (fields.field === 2) cause.message = fields.text();
    else if (fields.field === 3) cause.field = fields.text();
  }
  return cause;
}
