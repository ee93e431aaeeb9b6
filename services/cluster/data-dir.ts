import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The data directory cannot be used; the message says what to do. */
export class DataDirUnusable extends Error {
  readonly code = 'DataDirUnusable';
}

/**
 * Makes the directory, for its owner alone because NATS stores objects in it, and takes it for this process: two
 * clusters must not share a store. Resolves with how to give it back. Rejects with DataDirUnusable.
 */
export async function takeDataDir(path: string): Promise<() => Promise<void>> {
  const pidFile = join(path, 'cluster.pid');
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    const holder = Number(await readFile(pidFile, 'utf8').catch(() => ''));
    if (holder > 0 && holder !== process.pid && lives(holder)) {
      throw new DataDirUnusable(
        `${path} is in use by the cluster of process ${holder}: stop it or choose another --data-dir`,
      );
    }
    await rm(pidFile, { force: true });
    await writeFile(pidFile, String(process.pid), { flag: 'wx', mode: 0o600 });
  } catch (cause) {
    if (cause instanceof DataDirUnusable) throw cause;
    throw new DataDirUnusable(`cannot keep anything in ${path}: make it writable or choose another --data-dir`, {
      cause,
    });
  }
  return () => rm(pidFile, { force: true });
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
