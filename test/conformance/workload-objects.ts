/** The custom resource of test/go/controller. */
export const WIDGETS = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'widgets.dogwatch.test' },
  spec: {
    group: 'dogwatch.test',
    scope: 'Namespaced',
    names: { plural: 'widgets', singular: 'widget', kind: 'Widget', listKind: 'WidgetList' },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        subresources: { status: {} },
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              spec: { type: 'object', properties: { size: { type: 'integer' }, colour: { type: 'string' } } },
              status: {
                type: 'object',
                properties: { phase: { type: 'string' }, observedGeneration: { type: 'integer' } },
              },
            },
          },
        },
      },
    ],
  },
};

export function widget(name: string, size: number): object {
  return {
    apiVersion: 'dogwatch.test/v1',
    kind: 'Widget',
    metadata: { name },
    spec: { size, colour: size % 2 === 0 ? 'red' : 'blue' },
  };
}

/** Every pod reads the ConfigMap and the Secret `settings` of its namespace, so that kubelets watch them. */
function podSpec(image: string): object {
  return {
    terminationGracePeriodSeconds: 1,
    containers: [{ name: 'main', image, volumeMounts: [{ name: 'settings', mountPath: '/settings' }] }],
    volumes: [
      { name: 'settings', configMap: { name: 'settings' } },
      { name: 'passwords', secret: { secretName: 'settings' } },
    ],
  };
}

function selected(name: string): object {
  const labels = { app: name };
  return { selector: { matchLabels: labels }, template: { metadata: { labels }, spec: podSpec('app:1') } };
}

export function deployment(name: string, replicas: number): object {
  return { metadata: { name }, spec: { replicas, progressDeadlineSeconds: 120, ...selected(name) } };
}

export function statefulSet(name: string, replicas: number): object {
  return { metadata: { name }, spec: { replicas, serviceName: name, ...selected(name) } };
}

export function daemonSet(name: string): object {
  return { metadata: { name }, spec: selected(name) };
}

export function service(name: string, headless = false): object {
  const spec = { selector: { app: name }, ports: [{ port: 80 }], ...(headless ? { clusterIP: 'None' } : {}) };
  return { metadata: { name }, spec };
}

export function disruptionBudget(name: string): object {
  return { metadata: { name }, spec: { minAvailable: 1, selector: { matchLabels: { app: name } } } };
}

export function job(name: string, spec: object): object {
  const template = { metadata: { labels: { app: name } }, spec: { ...podSpec('app:1'), restartPolicy: 'Never' } };
  return { metadata: { name }, spec: { backoffLimit: 0, template, ...spec } };
}
