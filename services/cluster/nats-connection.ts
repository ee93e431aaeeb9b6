import { connectNats, type NatsPort } from '@dogwatch/bus/nats-port.ts';
import { present } from '@dogwatch/sidecar/present.ts';
import type { NatsConfig } from './nats-options.ts';

/** Connects as the options say, under a name that the server's monitoring shows. Rejects as connectNats does. */
export function connect(config: NatsConfig, name: string, timeoutMs: number): Promise<NatsPort> {
  const tls = present({ caFile: config.natsCaFile, certFile: config.natsCertFile, keyFile: config.natsKeyFile });
  return connectNats({
    servers: config.natsServers,
    name,
    timeoutMs,
    ...present({ credsFile: config.natsCreds }),
    ...(Object.keys(tls).length === 0 ? {} : { tls }),
  });
}
