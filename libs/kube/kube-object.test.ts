import { describe, expect, test } from 'vitest';
import { Attributes, type ObjectSchema, kubeObject } from './kube-object.ts';
import { MalformedFrame } from './malformed-frame.ts';
import { selectableFields } from './selectable-fields.ts';

const PODS = { group: '', version: 'v1', resource: 'pods' };
const NODES = { group: '', version: 'v1', resource: 'nodes' };
const podSchema: ObjectSchema = {
  encoding: 'json',
  fields: selectableFields(PODS, true),
  indexedField: 'spec.nodeName',
};
const nodeSchema: ObjectSchema = {
  encoding: 'json',
  fields: selectableFields(NODES, false),
  indexedField: undefined,
};

function bytes(object: object): Buffer {
  return Buffer.from(JSON.stringify(object));
}

const metadata = { name: 'a', namespace: 'one', uid: 'u', resourceVersion: '7', labels: { app: 'web' } };

describe('an object', () => {
  test('is known by its key, uid and version, and indexed by its field', () => {
    const object = kubeObject(podSchema, bytes({ kind: 'Pod', apiVersion: 'v1', metadata, spec: { nodeName: 'n1' } }));
    expect(object).toMatchObject({ key: 'one/a', namespace: 'one', name: 'a', uid: 'u', rv: 7, indexed: 'n1' });
  });

  test('of a cluster-scoped resource has its name as key', () => {
    const { namespace: _, ...clusterScoped } = metadata;
    expect(kubeObject(nodeSchema, bytes({ kind: 'Node', apiVersion: 'v1', metadata: clusterScoped })).key).toBe('a');
  });

  test.each([
    ['a name', { ...metadata, name: '' }],
    ['a version', { ...metadata, resourceVersion: undefined }],
  ])('without %s is refused', (_, broken) => {
    expect(() => kubeObject(podSchema, bytes({ kind: 'Pod', apiVersion: 'v1', metadata: broken }))).toThrow(
      MalformedFrame,
    );
  });
});

describe('its attributes', () => {
  const attributes = (schema: ObjectSchema, spec: object): Attributes =>
    new Attributes(schema, kubeObject(schema, bytes({ kind: 'Pod', apiVersion: 'v1', metadata, spec })));

  test('are its labels, and the fields of the schema', () => {
    const found = attributes(podSchema, { nodeName: 'n1', restartPolicy: 'Never' });
    expect(found.labels()).toEqual(new Map([['app', 'web']]));
    expect(found.field('metadata.name')).toBe('a');
    expect(found.field('metadata.namespace')).toBe('one');
    expect(found.field('spec.nodeName')).toBe('n1');
    expect(found.field('spec.host')).toBe('n1');
    expect(found.field('spec.restartPolicy')).toBe('Never');
  });

  test('upstream compares the zero value of a field that is absent: false of a bool, "" of a string', () => {
    const absent = attributes(podSchema, {});
    expect(absent.field('spec.hostNetwork')).toBe('false');
    expect(absent.field('spec.nodeName')).toBe('');
    expect(attributes(nodeSchema, {}).field('spec.unschedulable')).toBe('false');
    expect(attributes(nodeSchema, { unschedulable: true }).field('spec.unschedulable')).toBe('true');
  });

  test('a field nobody checked against the schema is a fault', () => {
    expect(() => attributes(podSchema, {}).field('spec.unknown')).toThrow('spec.unknown');
  });
});
