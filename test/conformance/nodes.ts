import { eventually } from '../support/eventually.ts';
import type { KubeClient } from '../support/kube-client.ts';

interface Node {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

/** Waits until a node is Ready; 60 s, of which a hollow kubelet needs 1 to 14. */
export async function untilNodeReady(client: KubeClient, name: string): Promise<void> {
  await eventually({ what: `node ${name} is Ready`, timeoutMs: 60_000 }, async () => {
    const { status } = await client.get<Node>(`/api/v1/nodes/${name}`);
    return status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') === true;
  });
}
