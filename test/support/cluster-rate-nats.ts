import type { NatsServers } from './nats-server.ts';

/** What a server of NATS says of its clients at /connz. */
interface Connections {
  readonly connections: readonly { readonly name?: string; readonly out_bytes: number }[];
}

/**
 * Bytes that NATS has sent to a dogwatch process over its present connection, as the servers count them: messages with
 * their subjects and headers. Throws if there is not one connection.
 */
export async function bytesSentTo(nats: NatsServers, member: string): Promise<number> {
  const answers = await Promise.all(
    nats.servers.map(async ({ monitor }) => {
      const response = await fetch(`${monitor}/connz?limit=1024`);
      return ((await response.json()) as Connections).connections;
    }),
  );
  const [own, ...others] = answers.flat().filter(({ name }) => name === `dogwatch ${member}`);
  if (own === undefined || others.length > 0) throw new Error(`${member} has not one connection to NATS`);
  return own.out_bytes;
}
