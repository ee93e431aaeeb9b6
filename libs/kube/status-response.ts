import { contentType, negotiateStatus } from './content-negotiation.ts';
import { statusJson, statusPrettyJson, statusProtobuf } from './status-encoding.ts';
import { type StatusBody, statusHeaders } from './status.ts';

/** A whole HTTP answer. */
export interface StatusResponse {
  readonly code: number;
  /** Lower case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/**
 * A status as upstream answers it to this Accept header (row G14). `pretty` is prettyRequested(…). A client of YAML
 * gets JSON text as its YAML, which it is; upstream would lay it out in lines.
 */
export function statusResponse(status: StatusBody, accept: string | undefined, pretty: boolean): StatusResponse {
  const negotiated = negotiateStatus(accept);
  const mediaType = negotiated?.mediaType ?? 'json';
  return {
    code: status.code ?? 200,
    headers: { ...statusHeaders(status), 'content-type': contentType(mediaType, false) },
    body: mediaType === 'protobuf' ? statusProtobuf(status) : Buffer.from(text()),
  };

  function text(): string {
    const indented = negotiated === undefined || (mediaType === 'json' && (negotiated.pretty || pretty));
    return indented ? statusPrettyJson(status) : statusJson(status);
  }
}
