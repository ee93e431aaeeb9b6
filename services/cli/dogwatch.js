#!/usr/bin/env node
// The `dogwatch` command: finds a Node new enough and runs main.ts on it.
import { fileURLToPath } from 'node:url';
import { runOnNode24 } from './node24.js';

// V8 lets the young generation grow to 128 MiB while many connections open, and keeps that: 7 KB a watch at 18,000.
// What a delivery allocates is little and short-lived, so a small one costs nothing measurable.
const NODE_OPTIONS = ['--max-semi-space-size=4'];

await runOnNode24(fileURLToPath(new URL('./main.ts', import.meta.url)), process.argv.slice(2), NODE_OPTIONS);
