import type { LoadReport } from './load-client.ts';

/** One second of the demo. Undefined: not known here. */
export interface DemoStatus {
  readonly seconds: number;
  readonly watches: number;
  readonly wanted: number;
  readonly eventsPerSecond: number | undefined;
  readonly deliveriesPerSecond: number;
  /** Milliseconds from the moment an event was due at its writer. */
  readonly p50: number | undefined;
  readonly p99: number | undefined;
  readonly upstreamWatches: number | undefined;
  readonly memoryBytes: number | undefined;
  /** Faults since the start: versions out of order or twice, errors, streams that ended. */
  readonly faults: number;
}

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** `-` for what is not known. */
export function number(value: number | undefined): string {
  return value === undefined ? '-' : whole.format(value);
}

export function megabytes(bytes: number | undefined): string {
  return bytes === undefined ? '-' : `${number(bytes / 1024 / 1024)} MB`;
}

export function milliseconds(value: number | undefined): string {
  return value === undefined ? '-' : `${value < 10 ? value.toFixed(1) : number(value)} ms`;
}

/** The faults in a report of the clients. */
export function faultsOf({ counts }: LoadReport): number {
  const errors = Object.values(counts.errors).reduce((sum, count) => sum + count, 0);
  return counts.disordered + counts.repeated + counts.ended + errors;
}

/** The same as one line, for logs and pipes. */
export function statusLine(status: DemoStatus): string {
  return [
    `${String(status.seconds).padStart(3)} s`,
    `watches ${number(status.watches)}/${number(status.wanted)}`,
    `events in ${number(status.eventsPerSecond)}/s`,
    `deliveries out ${number(status.deliveriesPerSecond)}/s`,
    `lag p99 ${milliseconds(status.p99)}`,
    `upstream watches ${number(status.upstreamWatches)}`,
    `dogwatch memory ${megabytes(status.memoryBytes)}`,
    ...(status.faults === 0 ? [] : [`FAULTS ${number(status.faults)}`]),
  ].join(' | ');
}

/** A block for a terminal that is rewritten in place. */
export function statusBlock(status: DemoStatus): string[] {
  const { p50, p99 } = status;
  return [
    `  watches open       ${number(status.watches).padStart(9)}   of ${number(status.wanted)}`,
    `  upstream watches   ${number(status.upstreamWatches).padStart(9)}   what kube-apiserver has to serve instead`,
    `  events in          ${number(status.eventsPerSecond).padStart(9)}   per second`,
    `  deliveries out     ${number(status.deliveriesPerSecond).padStart(9)}   per second`,
    `  lag                ${milliseconds(p99).padStart(9)}   p99, ${milliseconds(p50)} p50, from the write to the client`,
    `  dogwatch memory    ${megabytes(status.memoryBytes).padStart(9)}`,
    `  faults             ${number(status.faults).padStart(9)}   out of order, repeated, ended, refused`,
  ];
}
