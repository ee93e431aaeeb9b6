#!/usr/bin/env node
// The `dogwatch` command: finds a Node new enough and runs main.ts on it.
import { fileURLToPath } from 'node:url';
import { runOnNode24 } from './node24.js';

await runOnNode24(fileURLToPath(new URL('./main.ts', import.meta.url)), process.argv.slice(2));
