import { eventually } from '../support/eventually.ts';
import type { KubeClient, KubeObject } from '../support/kube-client.ts';

const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';

/** One version of a custom resource, as a CustomResourceDefinition has it. */
export interface CustomVersion {
  readonly name: string;
  readonly served?: boolean;
  readonly storage?: boolean;
  /** Schemas of the fields of `spec`. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly selectableFields?: readonly { readonly jsonPath: string }[];
  readonly additionalPrinterColumns?: readonly unknown[];
  readonly deprecated?: boolean;
  readonly deprecationWarning?: string;
}

/** What a definition of widgets says beside its versions. */
export interface CustomParts {
  readonly scope?: 'Namespaced' | 'Cluster';
  readonly conversion?: unknown;
  readonly names?: Readonly<Record<string, unknown>>;
}

interface Condition {
  readonly type: string;
  readonly status: string;
}

let groups = 0;

/** Widgets of a group of their own, written to kube-apiserver itself. */
export class CustomResource {
  readonly group: string;
  readonly #admin: KubeClient;
  #scope: 'Namespaced' | 'Cluster' = 'Namespaced';

  constructor(admin: KubeClient, group: string) {
    this.#admin = admin;
    this.group = group;
  }

  /** Of a group that no other has. */
  static ofNewGroup(admin: KubeClient): CustomResource {
    groups += 1;
    return new CustomResource(admin, `g${groups}.example.com`);
  }

  /** Of the definition. */
  get path(): string {
    return `${CRDS}/widgets.${this.group}`;
  }

  /** Of the widgets of one namespace, of all of them, or of one widget. */
  collection({ version = 'v1', namespace = 'default' }: { version?: string; namespace?: string } = {}): string {
    const scope = this.#scope === 'Cluster' || namespace === '' ? '' : `namespaces/${namespace}/`;
    return `/apis/${this.group}/${version}/${scope}widgets`;
  }

  /** Resolves once kube-apiserver serves it. */
  async define(versions: readonly CustomVersion[], parts: CustomParts = {}): Promise<void> {
    this.#scope = parts.scope ?? 'Namespaced';
    const spec = { group: this.group, ...this.#spec(versions, parts) };
    await this.#admin.create(CRDS, {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: `widgets.${this.group}` },
      spec,
    });
    const [{ name } = { name: 'v1' }] = versions.filter(({ served = true }) => served);
    await eventually({ what: `${this.group} is served`, timeoutMs: 20_000, everyMs: 50 }, () => this.#isServed(name));
  }

  /** Replaces what the definition says. */
  async redefine(versions: readonly CustomVersion[], parts: CustomParts = {}): Promise<void> {
    await this.#admin.mergePatch(this.path, { spec: this.#spec(versions, parts) });
  }

  /** Resolves once the definition is gone. */
  async remove(): Promise<void> {
    await this.#admin.delete(this.path);
    await eventually({ what: `${this.group} is gone`, timeoutMs: 60_000, everyMs: 50 }, async () => {
      return (await this.#admin.request('GET', this.path)).status === 404;
    });
  }

  create(
    name: string,
    spec: object,
    at: { version?: string; namespace?: string; labels?: object } = {},
  ): Promise<KubeObject> {
    const { version = 'v1', labels = {} } = at;
    const apiVersion = `${this.group}/${version}`;
    return this.#admin.create(this.collection(at), { apiVersion, kind: 'Widget', metadata: { name, labels }, spec });
  }

  patch(name: string, patch: object): Promise<KubeObject> {
    return this.#admin.mergePatch(`${this.collection()}/${name}`, patch);
  }

  #spec(versions: readonly CustomVersion[], { scope = 'Namespaced', conversion, names = {} }: CustomParts): object {
    return {
      scope,
      names: { plural: 'widgets', singular: 'widget', kind: 'Widget', listKind: 'WidgetList', ...names },
      ...(conversion === undefined ? {} : { conversion }),
      versions: versions.map(({ fields, ...version }, index) => ({
        served: true,
        storage: index === 0,
        schema: {
          openAPIV3Schema: { type: 'object', properties: { spec: { type: 'object', properties: fields } } },
        },
        ...version,
      })),
    };
  }

  async #isServed(version: string): Promise<boolean> {
    const { status } = await this.#admin.get<{ status?: { conditions?: readonly Condition[] } }>(this.path);
    const established = status?.conditions?.some((it) => it.type === 'Established' && it.status === 'True') === true;
    return established && (await this.#admin.request('GET', this.collection({ version }))).status === 200;
  }
}
