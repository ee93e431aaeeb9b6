import { renderTable } from './text-table.ts';

/** A process of a cluster on this machine, as it is shown. */
export interface LocalProcess {
  readonly role: string;
  readonly name: string;
  readonly pid: number;
  readonly ports: Readonly<Record<string, number>>;
  readonly logFile: string;
}

/** What the operator needs to know of a cluster that serves. */
export function renderTopology(processes: readonly LocalProcess[], kubeconfig: string): string {
  const rows = processes.map(({ role, name, pid, ports, logFile }) => [
    role,
    name,
    String(pid),
    Object.entries(ports)
      .map(([what, port]) => `${what} ${port}`)
      .join(', '),
    logFile,
  ]);
  return `${renderTable(['ROLE', 'NAME', 'PID', 'PORTS', 'LOG'], rows)}
serving; Ctrl-C stops all
  kubectl --kubeconfig ${kubeconfig} get pods --all-namespaces --watch
`;
}
