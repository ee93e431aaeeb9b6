import { resolve } from 'node:path';
import { type PemSource } from './cluster-access.ts';
import { KubeconfigError } from './kubeconfig-error.ts';

/**
 * Typed access to one mapping of a kubeconfig. Null and "" count as absent, as in kubectl. Throws KubeconfigError
 * `invalid_field` naming the place and never the value, which may be a secret.
 */
export class Fields {
  readonly #values: Readonly<Record<string, unknown>>;
  /** Where it stands, for messages: `user "admin" in /home/me/.kube/config`. */
  readonly where: string;
  readonly #directory: string;

  /** `directory`: what relative paths are relative to. */
  constructor({ value, where, directory }: { value: unknown; where: string; directory: string }) {
    if (value === undefined || value === null) this.#values = {};
    else if (isMapping(value)) this.#values = value;
    else throw new KubeconfigError('invalid_field', `${where} must be a mapping`);
    this.where = where;
    this.#directory = directory;
  }

  raw(name: string): unknown {
    return this.#values[name] ?? undefined;
  }

  has(name: string): boolean {
    const value = this.raw(name);
    return value !== undefined && value !== '';
  }

  string(name: string): string | undefined {
    const value = this.raw(name);
    if (value === undefined || value === '') return undefined;
    if (typeof value !== 'string') throw this.invalid(name, 'must be a string: put it in quotes');
    return value;
  }

  boolean(name: string): boolean {
    const value = this.raw(name) ?? false;
    if (typeof value !== 'boolean') throw this.invalid(name, 'must be true or false');
    return value;
  }

  path(name: string): string | undefined {
    const value = this.string(name);
    return value === undefined ? undefined : resolve(this.#directory, value);
  }

  /** `NAME-data` (base64, goes first) or the file `NAME`. */
  pem(name: string): PemSource | undefined {
    const encoded = this.string(`${name}-data`)?.replaceAll(/\s/g, '');
    if (encoded !== undefined) {
      if (!/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) throw this.invalid(`${name}-data`, 'must be base64');
      return { kind: 'data', pem: Buffer.from(encoded, 'base64') };
    }
    const path = this.path(name);
    return path === undefined ? undefined : { kind: 'file', path };
  }

  child(name: string): Fields | undefined {
    if (!this.has(name)) return undefined;
    return this.#nested(this.raw(name), name);
  }

  children(name: string): Fields[] {
    return this.#list(name).map((value, i) => this.#nested(value, `${name}[${i}]`));
  }

  strings(name: string): string[] {
    return this.#list(name).map((value, i) => {
      if (typeof value !== 'string') throw this.invalid(`${name}[${i}]`, 'must be a string: put it in quotes');
      return value;
    });
  }

  invalid(name: string, problem: string): KubeconfigError {
    return new KubeconfigError('invalid_field', `${name} of ${this.where} ${problem}`);
  }

  #list(name: string): unknown[] {
    const value = this.raw(name) ?? [];
    if (!Array.isArray(value)) throw this.invalid(name, 'must be a list');
    return value;
  }

  #nested(value: unknown, name: string): Fields {
    return new Fields({ value, where: `${name} of ${this.where}`, directory: this.#directory });
  }
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
