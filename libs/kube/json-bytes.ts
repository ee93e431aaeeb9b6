/** Bytes that JSON is made of. */
export const QUOTE = 0x22;
export const COMMA = 0x2c;
export const COLON = 0x3a;
export const OPEN_BRACKET = 0x5b;
export const BACKSLASH = 0x5c;
export const CLOSE_BRACKET = 0x5d;
export const OPEN_BRACE = 0x7b;
export const CLOSE_BRACE = 0x7d;
/** Under this mask `{` and `[` are OPEN_BRACKET, `}` and `]` CLOSE_BRACKET, and no other ASCII byte is either. */
export const BRACE_OR_BRACKET = 0xdf;

/** 1 at each byte that is white space between tokens. */
export const SPACE = new Uint8Array(256);
for (const byte of Buffer.from(' \t\r\n')) SPACE[byte] = 1;
