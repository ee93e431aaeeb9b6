import { readFileSync } from 'node:fs';

/** dogwatch's version, as in every package.json of this repository. */
export const version: string = (
  JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8')) as { version: string }
).version;
