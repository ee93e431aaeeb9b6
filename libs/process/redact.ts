const REDACTED = '[redacted]';

/** Fields whose values never belong in a log; `data` and `stringData` are those of a Secret. Lower case. */
const SECRET_FIELDS: ReadonlySet<string> = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  'set-cookie',
  'token',
  'accesstoken',
  'bearertoken',
  'idtoken',
  'refreshtoken',
  'password',
  'passphrase',
  'privatekey',
  'clientkey',
  'clientkeydata',
  'client-key-data',
  'tls-private-key',
  'data',
  'stringdata',
]);

/** How deep objects are searched; what lies deeper is replaced whole. */
const MAX_DEPTH = 6;

const FIELD = `(?:${[...SECRET_FIELDS].join('|')})`;

/**
 * What a credential looks like inside a line of JSON: a bearer or basic credential, a JSON web token, the rest of a
 * string from the head of a PEM private key on, a secret field with a string for its value, and the same in JSON
 * quoted inside JSON.
 */
const SECRET_TEXT = new RegExp(
  [
    String.raw`(?<scheme>\b(?:Bearer|Basic) )[\w.~+/=-]+`,
    String.raw`\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*`,
    String.raw`-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^"\\]|\\[^"])*`,
    String.raw`(?<field>"${FIELD}":")(?:[^"\\]|\\.)*`,
    String.raw`(?<quoted>\\"${FIELD}\\":\\")(?:[^"\\]|\\\\\\"|\\\\|\\[^"\\])*`,
  ].join('|'),
  'gi',
);

/** A line of JSON without the credentials that can be recognised in its text; still JSON. */
export function redactText(line: string): string {
  return line.replace(SECRET_TEXT, (...match) => {
    const { scheme, field, quoted } = match.at(-1) as Record<string, string | undefined>;
    return `${scheme ?? field ?? quoted ?? ''}${REDACTED}`;
  });
}

/** `fields` without the values of secret fields at any depth; the same object if there are none. */
export function redactFields(fields: Record<string, unknown>): Record<string, unknown> {
  return redactObject(fields, 0);
}

function redactValue(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value;
  // Bytes, such as node:http's `rawPacket` of a request that cannot be parsed: nobody can tell what is in them.
  if (depth >= MAX_DEPTH || ArrayBuffer.isView(value)) return REDACTED;
  if (Array.isArray(value)) return redactArray(value, depth);
  const prototype: unknown = Object.getPrototypeOf(value);
  const plain = prototype === Object.prototype || prototype === null;
  return plain ? redactObject(value as Record<string, unknown>, depth) : value;
}

function redactArray(values: readonly unknown[], depth: number): readonly unknown[] {
  let copy: unknown[] | undefined;
  values.forEach((value, i) => {
    const clean = redactValue(value, depth + 1);
    if (clean === value) return;
    copy ??= [...values];
    copy[i] = clean;
  });
  return copy ?? values;
}

function redactObject(fields: Record<string, unknown>, depth: number): Record<string, unknown> {
  let copy: Record<string, unknown> | undefined;
  for (const [name, value] of Object.entries(fields)) {
    const clean = SECRET_FIELDS.has(name.toLowerCase()) ? REDACTED : redactValue(value, depth + 1);
    if (clean === value) continue;
    copy ??= { ...fields };
    copy[name] = clean;
  }
  return copy ?? fields;
}
