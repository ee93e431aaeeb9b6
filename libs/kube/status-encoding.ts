import { type Json, goJson } from './go-json.ts';
import { bytesField, stringField, varintField } from './proto-wire.ts';
import { wrapUnknown } from './runtime-unknown.ts';
import type { StatusBody, StatusCause, StatusDetails } from './status.ts';

/** The body of an HTTP answer (row G14), with upstream's newline at the end. */
export function statusJson(status: StatusBody): string {
  return `${statusObjectJson(status)}\n`;
}

/** The object of an ERROR event: as `statusJson`, without the newline. */
export function statusObjectJson(status: StatusBody): string {
  return goJson(typed(status));
}

/** Indented, without a newline: for people, and where no encoding the client accepts was left. */
export function statusPrettyJson(status: StatusBody): string {
  return goJson(typed(status), 2);
}

/** Row G12: the timeout filter sends its status without kind and apiVersion. */
export function untypedStatusJson(status: StatusBody): string {
  return `${goJson(fields(status))}\n`;
}

/** The body of an HTTP answer and the object of an ERROR event in protobuf, with its `k8s\0` envelope. */
export function statusProtobuf(status: StatusBody): Buffer {
  const listMeta = [stringField(1, ''), stringField(2, ''), stringField(3, status.metadata?.continue ?? '')];
  const raw = Buffer.concat([
    bytesField(1, ...listMeta),
    stringField(2, status.status),
    stringField(3, status.message ?? ''),
    stringField(4, status.reason ?? ''),
    ...(status.details === undefined ? [] : [protobufDetails(status.details)]),
    varintField(6, status.code ?? 0),
  ]);
  return wrapUnknown({ kind: 'Status', apiVersion: 'v1' }, raw);
}

function protobufDetails(details: StatusDetails): Buffer {
  return bytesField(
    5,
    stringField(1, details.name ?? ''),
    stringField(2, details.group ?? ''),
    stringField(3, details.kind ?? ''),
    ...(details.causes ?? []).map((cause) =>
      bytesField(
        4,
        stringField(1, cause.reason ?? ''),
        stringField(2, cause.message ?? ''),
        stringField(3, cause.field ?? ''),
      ),
    ),
    varintField(5, details.retryAfterSeconds ?? 0),
    stringField(6, details.uid ?? ''),
  );
}

function typed(status: StatusBody): Json {
  return { kind: 'Status', apiVersion: 'v1', ...fields(status) };
}

/** In the order of metav1.Status. */
function fields({ metadata, status, message, reason, details, code }: StatusBody): Record<string, Json> {
  return {
    metadata: nonEmpty({ continue: metadata?.continue }),
    ...nonEmpty({ status, message, reason }),
    ...(details === undefined ? {} : { details: detailsJson(details) }),
    ...nonEmpty({ code }),
  };
}

function detailsJson({ name, group, kind, uid, causes = [], retryAfterSeconds }: StatusDetails): Json {
  return {
    ...nonEmpty({ name, group, kind, uid }),
    ...(causes.length === 0 ? {} : { causes: causes.map(causeJson) }),
    ...nonEmpty({ retryAfterSeconds }),
  };
}

function causeJson({ reason, message, field }: StatusCause): Json {
  return nonEmpty({ reason, message, field });
}

/** Go's omitempty. */
function nonEmpty(values: Readonly<Record<string, string | number | undefined>>): Record<string, Json> {
  const kept: Record<string, Json> = {};
  for (const [key, value] of Object.entries(values)) {
    if (value !== undefined && value !== '' && value !== 0) kept[key] = value;
  }
  return kept;
}
