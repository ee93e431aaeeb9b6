import { randomBytes } from 'node:crypto';
import { connect, type TLSSocket } from 'node:tls';
import type { Endpoint } from './kube-client.ts';

const TIMEOUT_MS = 10_000;

/** What one WebSocket brought: its handshake's status and headers, and the first frames. */
export interface WebSocketAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Text of the frames of type `text`; others as `<opcode>`. */
  readonly frames: readonly string[];
  /** What stands behind the head of a refusal. */
  readonly body: string;
}

/**
 * Opens a WebSocket (RFC 6455) and reads `count` frames, or to the end if that comes before. `say` is sent as a text
 * frame once it is open.
 */
export async function readWebSocket(
  endpoint: Endpoint,
  request: { readonly path: string; readonly token: string; readonly count: number; readonly say?: string },
): Promise<WebSocketAnswer> {
  const { hostname, port } = new URL(endpoint.server);
  const socket = connect({ host: hostname, port: Number(port), ca: endpoint.ca, ALPNProtocols: ['http/1.1'] });
  const timer = setTimeout(
    () => socket.destroy(new Error(`${request.path}: not ${request.count} frames in ${TIMEOUT_MS / 1_000} s`)),
    TIMEOUT_MS,
  );
  try {
    socket.write(handshake(hostname, request));
    return await answerOf(socket, request);
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

function handshake(host: string, { path, token }: { readonly path: string; readonly token: string }): string {
  return [
    `GET ${path} HTTP/1.1`,
    `Host: ${host}`,
    `Origin: https://${host}`,
    `Authorization: Bearer ${token}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    '\r\n',
  ].join('\r\n');
}

async function answerOf(
  socket: TLSSocket,
  { count, say }: { readonly count: number; readonly say?: string },
): Promise<WebSocketAnswer> {
  let head: { status: number; headers: Record<string, string> } | undefined;
  let rest = Buffer.alloc(0);
  const frames: string[] = [];
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    rest = Buffer.concat([rest, chunk]);
    if (head === undefined) {
      const end = rest.indexOf('\r\n\r\n');
      if (end === -1) continue;
      head = headOf(rest.subarray(0, end).toString());
      rest = rest.subarray(end + 4);
      if (head.status === 101 && say !== undefined) socket.write(textFrame(say));
    }
    if (head.status !== 101) {
      const length = Number(head.headers['content-length'] ?? Number.POSITIVE_INFINITY);
      if (rest.length >= length) break;
      continue;
    }
    for (let frame = frameOf(rest); frame !== undefined; frame = frameOf(rest)) {
      rest = rest.subarray(frame.length);
      frames.push(frame.text);
    }
    if (frames.length >= count) break;
  }
  if (head === undefined) throw new Error('the connection ended before the answer');
  return { ...head, frames: frames.slice(0, count), body: head.status === 101 ? '' : rest.toString() };
}

function headOf(text: string): { status: number; headers: Record<string, string> } {
  const [line = '', ...lines] = text.split('\r\n');
  const headers = lines.map((header) => {
    const colon = header.indexOf(':');
    return [header.slice(0, colon).toLowerCase(), header.slice(colon + 1).trim()] as const;
  });
  return { status: Number(line.split(' ')[1]), headers: Object.fromEntries(headers) };
}

/** The first frame of `bytes`, which a server does not mask; undefined if it is not all there. */
function frameOf(bytes: Buffer): { text: string; length: number } | undefined {
  if (bytes.length < 2) return undefined;
  const opcode = bytes[0]! & 0x0f;
  const short = bytes[1]! & 0x7f;
  const head = short === 127 ? 10 : short === 126 ? 4 : 2;
  if (bytes.length < head) return undefined;
  const size = short === 127 ? Number(bytes.readBigUInt64BE(2)) : short === 126 ? bytes.readUInt16BE(2) : short;
  if (bytes.length < head + size) return undefined;
  const text = opcode === 1 ? bytes.toString('utf8', head, head + size) : `<${opcode}>`;
  return { text, length: head + size };
}

/** A short text, masked with zeros. */
function textFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
}
