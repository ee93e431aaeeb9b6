import { apiVersionOf } from '@dogwatch/kube/group-resource.ts';
import type { Metrics } from '@dogwatch/process/metrics.ts';
import type { ApiHandler } from './api-handler.ts';
import type { HttpServer } from './http-server.ts';
import type { Watches } from './watches.ts';

export function registerFanoutMetrics(
  metrics: Metrics,
  { watches, server, handler }: { watches: Watches; server: HttpServer; handler: ApiHandler },
): void {
  metrics.counter({
    name: 'requests_total',
    help: 'Requests by who answered them: served from a cache, forwarded to kube-apiserver, refused by dogwatch itself',
    labels: ['answer'],
    collect: (family) => {
      for (const [answer, count] of Object.entries(handler.answers)) family.labels({ answer }).value = count;
    },
  });
  metrics.gauge({
    name: 'watches',
    help: 'Open watches of clients',
    labels: ['group_version', 'resource', 'encoding', 'view'],
    collect: (family) => {
      for (const { view, size } of watches) {
        const { lane } = view;
        const labels = { group_version: apiVersionOf(lane), resource: lane.resource, encoding: lane.encoding };
        family.labels({ ...labels, view: lane.view }).value += size; // a keyed lane is watched in several scopes
      }
    },
  });
  metrics.gauge({
    name: 'watch_groups',
    help: 'Distinct interests of open watches',
    collect: (family) => {
      let groups = 0;
      for (const { groupCount } of watches) groups += groupCount;
      family.labels({}).value = groups;
    },
  });
  metrics.counter({
    name: 'events_sent_total',
    help: 'Events and bookmarks handed to the sockets of clients',
    collect: (family) => void (family.labels({}).value = watches.delivered),
  });
  metrics.counter({
    name: 'watches_ended_total',
    help: 'Watches that ended, by reason',
    labels: ['reason'],
    collect: (family) => {
      for (const [reason, count] of watches.ended) family.labels({ reason }).value = count;
    },
  });
  metrics.counter({
    name: 'watch_conflations_total',
    help: 'Times a watch was sent the newest states instead of every change, because its client was slow',
    collect: (family) => void (family.labels({}).value = watches.conflations),
  });
  metrics.counter({
    name: 'watch_state_diffs_total',
    help: 'Watches that began with the newest states instead of every change, because they were away for long',
    collect: (family) => void (family.labels({}).value = watches.stateDiffs),
  });
  metrics.gauge({
    name: 'client_connections',
    help: 'Open connections of clients',
    collect: (family) => void (family.labels({}).value = server.connectionCount),
  });
  metrics.counter({
    name: 'client_connections_refused_total',
    help: 'Connections turned away at the bound',
    collect: (family) => void (family.labels({}).value = server.refusedConnections),
  });
}
