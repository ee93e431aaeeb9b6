/** One element of DER (X.690): its tag byte, its contents as a view, and where the next element begins. */
export interface DerElement {
  readonly tag: number;
  readonly contents: Buffer;
  readonly end: number;
}

/** Bytes that are not the DER they should be. */
export class MalformedDer extends Error {
  override readonly name = 'MalformedDer';
  readonly code = 'malformed_der';
}

export const DER_BOOLEAN = 0x01;
export const DER_INTEGER = 0x02;
export const DER_BIT_STRING = 0x03;
export const DER_OCTET_STRING = 0x04;
export const DER_OBJECT_IDENTIFIER = 0x06;
export const DER_UTF8_STRING = 0x0c;
export const DER_GENERALIZED_TIME = 0x18;
export const DER_SEQUENCE = 0x30;
export const DER_SET = 0x31;

/** `[number]` of a constructed (EXPLICIT or structured) element. */
export function derContext(number: number): number {
  return 0xa0 | number;
}

/** `[number] IMPLICIT` of a primitive element. */
export function derContextPrimitive(number: number): number {
  return 0x80 | number;
}

/** The element at `offset`; throws MalformedDer. Tags above 30 do not occur in certificates and are refused. */
export function readDer(bytes: Buffer, offset = 0): DerElement {
  const tag = bytes[offset];
  const first = bytes[offset + 1];
  if (tag === undefined || first === undefined) throw new MalformedDer('DER ends inside an element head');
  if ((tag & 0x1f) === 0x1f) throw new MalformedDer('DER tag of more than one byte');
  let start = offset + 2;
  let length = first;
  if (first >= 0x80) {
    const size = first & 0x7f;
    if (size === 0 || size > 4 || start + size > bytes.length) throw new MalformedDer('DER length is not definite');
    length = bytes.readUIntBE(start, size);
    start += size;
  }
  if (start + length > bytes.length) throw new MalformedDer('DER ends inside an element');
  return { tag, contents: bytes.subarray(start, start + length), end: start + length };
}

/** All elements of a constructed element's contents, in order. */
export function readDerAll(contents: Buffer): DerElement[] {
  const elements: DerElement[] = [];
  for (let offset = 0; offset < contents.length;) {
    const element = readDer(contents, offset);
    elements.push(element);
    offset = element.end;
  }
  return elements;
}

/** The dotted form of an OBJECT IDENTIFIER's contents. */
export function readObjectIdentifier(contents: Buffer): string {
  const arcs: number[] = [];
  let arc = 0;
  for (const byte of contents) {
    arc = arc * 128 + (byte & 0x7f);
    if (byte < 0x80) {
      arcs.push(arc);
      arc = 0;
    }
  }
  const head = arcs.shift();
  if (head === undefined || (contents.at(-1) ?? 0x80) >= 0x80) throw new MalformedDer('object identifier is cut off');
  const root = Math.min(Math.floor(head / 40), 2);
  return [root, head - root * 40, ...arcs].join('.');
}

/** An element of the given tag around the concatenated contents. */
export function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(contents);
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  const size = body.length > 0xffff ? 3 : body.length > 0xff ? 2 : 1;
  const head = Buffer.alloc(2 + size);
  head[0] = tag;
  head[1] = 0x80 | size;
  head.writeUIntBE(body.length, 2, size);
  return Buffer.concat([head, body]);
}

/** An OBJECT IDENTIFIER from its dotted form. */
export function derObjectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((arc) => {
    const groups = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) groups.unshift((left % 128) | 0x80);
    return groups;
  });
  return der(DER_OBJECT_IDENTIFIER, Buffer.from(bytes));
}
