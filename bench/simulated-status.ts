import { frameStatusEvent } from '@dogwatch/kube/event-framer.ts';
import type { Encoding } from '@dogwatch/kube/lane.ts';
import type { StatusBody, StatusDetails } from '@dogwatch/kube/status.ts';

/** An answer other than success, in kube-apiserver's words. */
export class StatusError extends Error {
  readonly code: number;
  readonly status: StatusBody;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    code: number,
    body: { reason?: string; message: string; details?: StatusDetails; metadata?: { continue?: string } },
    headers = {},
  ) {
    super(body.message);
    this.code = code;
    this.headers = headers;
    this.status = {
      metadata: body.metadata ?? {},
      status: 'Failure',
      message: body.message,
      ...(body.reason === undefined ? {} : { reason: body.reason }),
      ...(body.details === undefined ? {} : { details: body.details }),
      code,
    };
  }
}

export function badRequest(message: string): StatusError {
  return new StatusError(400, { reason: 'BadRequest', message });
}

/** 422 for a combination of list options (protocol G3). */
export function invalidOptions(causes: readonly { reason: string; message: string; field: string }[]): StatusError {
  const texts = causes.map(({ field, message }) => `${field}: ${message}`);
  const text = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  return new StatusError(422, {
    reason: 'Invalid',
    message: `ListOptions.meta.k8s.io "" is invalid: ${text}`,
    details: { group: 'meta.k8s.io', kind: 'ListOptions', causes },
  });
}

/** 504 for a version that has not happened within the wait (protocol L10). */
export function tooLarge(wanted: number, current: number): StatusError {
  return new StatusError(
    504,
    {
      reason: 'Timeout',
      message: `Timeout: Too large resource version: ${wanted}, current: ${current}`,
      details: {
        causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
        retryAfterSeconds: 1,
      },
    },
    { 'retry-after': '1' },
  );
}

export function expired(message: string, metadata?: { continue?: string }): StatusError {
  return new StatusError(410, { reason: 'Expired', message, ...(metadata === undefined ? {} : { metadata }) });
}

/** 404, 409 and the like about one object. */
export function objectStatus(
  code: number,
  reason: string,
  of: { message: string; name: string; group: string; resource: string },
): StatusError {
  const details = { name: of.name, ...(of.group === '' ? {} : { group: of.group }), kind: of.resource };
  return new StatusError(code, { reason, message: of.message, details });
}

/** The in-stream form of an error (protocol W8): HTTP 200, one ERROR event, end. */
export function errorFrame(error: StatusError, encoding: Encoding): Buffer {
  return frameStatusEvent(encoding, error.status);
}
