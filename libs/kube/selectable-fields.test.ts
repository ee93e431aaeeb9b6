import { describe, expect, test } from 'vitest';
import {
  canonicalFieldLabel,
  customSelectableFields,
  indexedField,
  selectableFields,
  unknownFieldLabelMessage,
} from './selectable-fields.ts';

const core = (resource: string) => ({ group: '', version: 'v1', resource });
const PODS = core('pods');
const NODES = core('nodes');
const CONFIG_MAPS = core('configmaps');
const JOBS = { group: 'batch', version: 'v1', resource: 'jobs' };
const SLICES = { group: 'resource.k8s.io', version: 'v1', resource: 'resourceslices' };
const WIDGETS = { group: 'example.com', version: 'v1', resource: 'widgets' };

describe('section 1.5: the selectable fields', () => {
  test('of pods', () => {
    const fields = selectableFields(PODS, true);
    expect([...fields.keys()].toSorted()).toEqual([
      'metadata.name',
      'metadata.namespace',
      'spec.host',
      'spec.hostNetwork',
      'spec.nodeName',
      'spec.restartPolicy',
      'spec.schedulerName',
      'spec.serviceAccountName',
      'status.nominatedNodeName',
      'status.phase',
      'status.podIP',
    ]);
    expect(fields.get('spec.hostNetwork')).toEqual({
      json: ['spec', 'hostNetwork'],
      protobuf: [
        { field: 2, type: 'message' },
        { field: 11, type: 'bool' },
      ],
    });
  });

  test('of an alias are those of the field itself', () => {
    const fields = selectableFields(PODS, true);
    expect(fields.get('spec.host')).toEqual(fields.get('spec.nodeName'));
    expect(canonicalFieldLabel(PODS, 'spec.host')).toBe('spec.nodeName');
    expect(canonicalFieldLabel(NODES, 'spec.host')).toBe('spec.host');
  });

  test('of a type without fields of its own are its name and namespace', () => {
    expect([...selectableFields(CONFIG_MAPS, true).keys()]).toEqual(['metadata.name', 'metadata.namespace']);
    expect([...selectableFields(core('persistentvolumes'), false).keys()]).toEqual(['metadata.name']);
    expect([...selectableFields({ group: 'apps', version: 'v1', resource: 'replicasets' }, true).keys()]).toEqual([
      'metadata.name',
      'metadata.namespace',
    ]);
  });

  test('of pod certificate requests leave out the namespace, as upstream does', () => {
    const gvr = { group: 'certificates.k8s.io', version: 'v1', resource: 'podcertificaterequests' };
    expect([...selectableFields(gvr, true).keys()]).toEqual([
      'metadata.name',
      'spec.signerName',
      'spec.podName',
      'spec.nodeName',
    ]);
  });

  test('of a version that was not checked are its metadata only', () => {
    expect([...selectableFields({ ...PODS, version: 'v2' }, true).keys()]).toEqual([
      'metadata.name',
      'metadata.namespace',
    ]);
    expect(unknownFieldLabelMessage({ ...PODS, version: 'v2' }, 'spec.nodeName')).toBeUndefined();
  });

  test('of both kinds of events name the same object', () => {
    const regarding = selectableFields({ group: 'events.k8s.io', version: 'v1', resource: 'events' }, true).get(
      'regarding.uid',
    );
    expect(regarding?.json).toEqual(['regarding', 'uid']);
    expect(selectableFields(core('events'), true).get('involvedObject.uid')?.protobuf).toEqual([
      { field: 2, type: 'message' },
      { field: 4, type: 'string' },
    ]);
  });

  test('of a custom resource are what its version says', () => {
    const fields = customSelectableFields(['.spec.color', '.spec.size'], true);
    expect([...fields.keys()]).toEqual(['metadata.name', 'metadata.namespace', 'spec.color', 'spec.size']);
    expect(fields.get('spec.color')).toEqual({ json: ['spec', 'color'], protobuf: [] });
    expect(customSelectableFields([], false).has('metadata.namespace')).toBe(false);
  });

  test.each(['spec.color', '.spec.*', '.spec[0]', '.spec.a,b', '.spec..b', '.', '.spec.a\\b', ".spec['a']", '.$.a'])(
    'of a custom resource that are no plain path are left to upstream: %s',
    (jsonPath) => {
      expect([...customSelectableFields([jsonPath], false).keys()]).toEqual(['metadata.name']);
    },
  );

  test('of a custom resource may have a star or a dash in their names', () => {
    expect([...customSelectableFields(['.spec.a-b', '.a*'], false).keys()]).toEqual([
      'metadata.name',
      'spec.a-b',
      'a*',
    ]);
  });
});

test('pods are indexed by node', () => {
  expect(indexedField(PODS)).toBe('spec.nodeName');
  expect(indexedField(NODES)).toBeUndefined();
  expect(indexedField({ ...PODS, group: 'metrics.k8s.io' })).toBeUndefined();
});

describe('a label that is not among them', () => {
  test.each([
    [PODS, 'spec.foo', 'field label not supported: spec.foo'],
    [NODES, 'metadata.namespace', 'field label not supported: metadata.namespace'],
    [WIDGETS, 'spec.foo', 'field label not supported: spec.foo'],
    [JOBS, 'spec.foo', 'field label "spec.foo" not supported for Job'],
    [SLICES, 'spec.foo', 'field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: spec.foo'],
    [CONFIG_MAPS, 'spec.foo', '"spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace"'],
    [CONFIG_MAPS, '"q\n"', '"\\"q\\n\\"" is not a known field selector: only "metadata.name", "metadata.namespace"'],
  ])('of $resource is refused in upstream words: %j', (gvr, label, message) => {
    expect(unknownFieldLabelMessage(gvr, label)).toBe(message);
  });

  test.each([
    [PODS, 'status.podIPs'],
    [core('events'), 'source'],
    [core('persistentvolumes'), 'metadata.namespace'],
  ])('but which upstream takes is left to upstream: %j %s', (gvr, label) => {
    expect(selectableFields(gvr, false).has(label)).toBe(false);
    expect(unknownFieldLabelMessage(gvr, label)).toBeUndefined();
  });
});
