#!/usr/bin/env node
// The `dogwatch` command: finds a Node new enough and runs main.ts on it.
import { fileURLToPath } from 'node:url';
import { runOnNode24 } from './node24.js';

const args = process.argv.slice(2);

// V8 lets the young generation grow to 128 MiB while many connections open, and keeps that: 7 KB a watch at 18,000.
// What a delivery allocates is little and short-lived, so a small one costs nothing measurable where clients connect.
// An ingest and a shard keep what they read, and have no clients: a small one would be copied over and over.
const youngMiB = args[0] === 'ingest' || args[0] === 'shard' ? 16 : 4;

const nodeOptions = [
  `--max-semi-space-size=${youngMiB}`,
  // Each object is a buffer outside the heap. By default V8, once it holds 64 MB more of these than after the last
  // collection, marks for 5-10 ms in every single allocation: stalls of 100-400 ms at 10,000 events a second.
  '--external-memory-accounted-in-global-limit',
];

await runOnNode24(fileURLToPath(new URL('./main.ts', import.meta.url)), args, nodeOptions);
