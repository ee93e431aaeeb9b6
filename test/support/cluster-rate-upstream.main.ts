// The simulated upstream as a process of its own, so that its CPU is its own and its writers wait for nobody's garbage.
// Takes commands on stdin and answers each on stdout, one JSON line each (see cluster-rate-upstream.ts).
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { populateFleets, type RateFleets } from '@dogwatch/bench/rate-fleets.ts';
import { RateWriter } from '@dogwatch/bench/rate-writer.ts';
import { SimulatedUpstream } from '@dogwatch/bench/simulated-upstream.ts';
import type { RateUpstreamCommand, RateUpstreamReport, RateUpstreamStart } from './cluster-rate-upstream.ts';
import { kubeconfig } from './kube-client.ts';

const start = JSON.parse(process.argv[2] ?? '{}') as RateUpstreamStart;
const upstream = await SimulatedUpstream.start({ window: start.window });
const fleets = populateFleets(upstream.store, start.population);
const endpoint = { server: upstream.url, ca: upstream.certificate };
writeFileSync(start.kubeconfig, kubeconfig(endpoint, { token: 'admin' }), { mode: 0o600 });
const writers = new Map<keyof RateFleets, RateWriter>();

function answer(command: RateUpstreamCommand): object {
  switch (command.do) {
    case 'write': {
      const { fleet, rate, limit } = command;
      const writer = new RateWriter({ store: upstream.store, fleet: fleets[fleet], rate, limit, seed: 1 });
      writers.get(fleet)?.stop();
      writers.set(fleet, writer);
      writer.start();
      return {};
    }
    case 'stop':
      for (const writer of writers.values()) writer.stop();
      return {};
    case 'report':
      return {
        version: upstream.store.resourceVersion,
        resources: upstream.counters.toJSON().resources,
        writers: Object.fromEntries([...writers].map(([fleet, writer]) => [fleet, writer.report()])),
      } satisfies RateUpstreamReport;
    case 'versions': {
      const fleet = fleets[command.fleet];
      return Array.from({ length: fleet.size }, (_, index) => fleet.at(index).resourceVersion);
    }
  }
}

const say = (what: object): void => void process.stdout.write(`${JSON.stringify(what)}\n`);
createInterface({ input: process.stdin })
  .on('line', (line) => say(answer(JSON.parse(line) as RateUpstreamCommand)))
  .on('close', () => process.exit(0));
process.once('SIGTERM', () => void upstream.close().then(() => process.exit(0)));
say({ msg: 'serving', server: upstream.url });
