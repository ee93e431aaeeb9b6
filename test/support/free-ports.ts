import { createServer } from 'node:net';

// Below Linux's ephemeral range, so that no outgoing connection takes a port between our look and the child's bind.
const LOWEST = 20_000;
const HIGHEST = 32_000;

// One that was given out may not be bound yet.
const given = new Set<number>();

/** `count` ports that are free on every address right now, for children that cannot listen on 0; none is given twice. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  for (let attempt = 0; ports.size < count; attempt += 1) {
    if (attempt > 1_000) throw new Error('no free ports between 20000 and 32000');
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    if (given.has(port)) continue;
    given.add(port);
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    // A kubelet listens on all addresses, and others on one each.
    server.listen(port, '0.0.0.0', () => server.close(() => resolve(true)));
  });
}
