import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assetPath } from './assets.ts';
import { type CommandResult, run, runOk } from './command.ts';

export const CHART = fileURLToPath(new URL('../../helm/dogwatch', import.meta.url));

/** Where helm has no cluster to ask it takes the one it was built for, which our build does not tell it. */
const KUBE_VERSION = '--kube-version=1.34.0';

/** `helm template` with these values over the chart's own. */
export function render(release: string, values: object = {}): Promise<CommandResult> {
  const args = ['template', release, CHART, KUBE_VERSION, '--values=-'];
  return run(assetPath('helm'), args, { env: helmEnvironment(), input: JSON.stringify(values) });
}

/** `helm lint --strict` with the chart's own values. */
export function lint(): Promise<CommandResult> {
  return run(assetPath('helm'), ['lint', '--strict', KUBE_VERSION, CHART], { env: helmEnvironment() });
}

/** Any command of helm, on a real cluster. */
export function helm(kubeconfig: string, args: readonly string[]): Promise<string> {
  return runOk(assetPath('helm'), [...args, `--kubeconfig=${kubeconfig}`], { env: helmEnvironment() });
}

/** Names of the options that the chart takes for a role, sorted. */
export async function chartOptions(role: string): Promise<readonly string[]> {
  const schema = JSON.parse(await readFile(join(CHART, 'values.schema.json'), 'utf8')) as {
    properties: Record<string, { properties: { options: { propertyNames: { enum: string[] } } } }>;
  };
  return schema.properties[role]?.properties.options.propertyNames.enum ?? [];
}

/** Nothing of the helm and the cluster of whoever runs the tests. */
function helmEnvironment(): Record<string, string> {
  const home = join(tmpdir(), 'dogwatch-helm');
  return {
    HELM_CACHE_HOME: join(home, 'cache'),
    HELM_CONFIG_HOME: join(home, 'config'),
    HELM_DATA_HOME: join(home, 'data'),
    HELM_NAMESPACE: '',
    KUBECONFIG: '',
  };
}
