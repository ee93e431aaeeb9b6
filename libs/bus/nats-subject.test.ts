import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { liveSubject, logSubject, logSubjects, requestSubject, streamName, subjectToken } from './nats-subject.ts';

const text = fc.string({ unit: 'grapheme' }).filter((it) => it.isWellFormed());

describe('subjects', () => {
  test('of a track have a token for each of its parts', () => {
    expect(liveSubject('dw', 'coordination.k8s.io/v1/leases/protobuf/object/3')).toBe(
      'dw.live.coordination_k8s_io.v1.leases.protobuf.object.3',
    );
  });

  test('of requests are to a process by its name, or to any', () => {
    expect(requestSubject('dw', 'fence', undefined)).toBe('dw.request.fence.any');
    expect(requestSubject('dw', 'fence', 'node-1.example')).toBe('dw.request.fence.to.node-1_example');
    expect(requestSubject('dw', 'fence', 'any')).toBe('dw.request.fence.to.any');
  });
});

describe('the log of a resource', () => {
  const leases = { group: 'coordination.k8s.io', resource: 'leases' };

  test('is one stream with two subjects a track', () => {
    expect(streamName('dw', leases)).toBe('dw__coordination_k8s_io__leases');
    expect(logSubjects('dw', leases)).toBe('dw.log.coordination_k8s_io.leases.>');
    expect(logSubject('dw', leases, 'a/0')).toBe('dw.log.coordination_k8s_io.leases.data.a.0');
    expect(logSubject('dw', leases, 'a/0', true)).toBe('dw.log.coordination_k8s_io.leases.fence.a.0');
    expect(streamName('x.y', { group: '', resource: 'pods' })).toBe('x_y__core__pods');
  });
});

describe('a token', () => {
  test('is readable where a group is', () => {
    expect(subjectToken('widgets.example-1.com')).toBe('widgets_example-1_com');
    expect(['', '*', '>', 'a b', 'a_b', '%'].map(subjectToken)).toEqual(['=', '=2A', '=3E', 'a=20b', 'a=5Fb', '=25']);
  });

  test('holds nothing that NATS gives a meaning', () => {
    fc.assert(
      fc.property(text, (it) => {
        expect(subjectToken(it)).toMatch(/^[^\s.*>/\\]+$/);
      }),
    );
  });

  test('stands for one text only', () => {
    fc.assert(
      fc.property(text, text, (a, b) => {
        expect(subjectToken(a) === subjectToken(b)).toBe(a === b);
      }),
    );
  });
});
