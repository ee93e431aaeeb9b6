import { join } from 'node:path';
import { parsePrometheusText, type Sample } from '@dogwatch/test/support/prometheus-text.ts';
import { ServerProcess } from './server-process.ts';

/** `dogwatch sidecar` as a child, in a directory of its own. */
export class DogwatchProcess {
  readonly process: ServerProcess;
  /** A kubeconfig that leads to it, with the user of the one it was given. */
  readonly kubeconfig: string;

  private constructor(process: ServerProcess, kubeconfig: string) {
    this.process = process;
    this.kubeconfig = kubeconfig;
  }

  /** Resolves when it serves; without a kubeconfig it takes $KUBECONFIG. Rejects with ServerProcessError. */
  static async start(kubeconfig: string | undefined, dir: string): Promise<DogwatchProcess> {
    const written = join(dir, 'dogwatch.kubeconfig');
    const server = await ServerProcess.start({
      name: 'dogwatch',
      script: 'services/cli/dogwatch.js',
      args: [
        'sidecar',
        ...(kubeconfig === undefined ? [] : [`--kubeconfig=${kubeconfig}`]),
        '--bind-address=127.0.0.1',
        '--secure-port=0',
        '--admin-port=0',
        `--cert-dir=${join(dir, 'certs')}`,
        `--write-kubeconfig=${written}`,
      ],
    });
    return new DogwatchProcess(server, written);
  }

  get pid(): number {
    return this.process.pid;
  }

  get server(): string {
    return `https://127.0.0.1:${Number(this.process.serving['port'])}`;
  }

  /** Its own metrics. */
  async metrics(): Promise<Sample[]> {
    const response = await fetch(`http://127.0.0.1:${Number(this.process.serving['adminPort'])}/metrics`, {
      signal: AbortSignal.timeout(5_000),
    });
    if (!response.ok) throw new Error(`/metrics of dogwatch answered ${response.status}`);
    return parsePrometheusText(await response.text());
  }

  stop(): Promise<void> {
    return this.process.stop();
  }
}
