import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  contentType,
  type Negotiated,
  negotiate,
  negotiateStatus,
  notAcceptableStatus,
  prettyRequested,
} from './content-negotiation.ts';
import { QueryParameters } from './query-parameters.ts';

/** What upstream's handlers chose: an application/ subtype and the transform; null: 406. */
interface Choice {
  readonly type: string;
  readonly pretty: boolean;
  readonly as?: string;
  readonly v?: string;
}

/** A random Accept header (its clauses 12 at most) and upstream's choices, without its router. */
interface Recorded {
  readonly accept: string;
  readonly builtIn: Choice | null;
  readonly custom: Choice | null;
  readonly status: Choice | null;
}

const recorded = readFileSync(new URL('testdata/upstream-accepts.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Recorded);

const BUILT_IN = { verb: 'list', customResource: false } as const;
const CUSTOM = { verb: 'list', customResource: true } as const;

function choice(negotiated: Negotiated | undefined): Choice | null {
  if (negotiated === undefined) return null;
  const { mediaType, pretty, as, asVersion } = negotiated;
  const type = mediaType === 'protobuf' ? 'vnd.kubernetes.protobuf' : mediaType;
  return { type, pretty, ...(as === undefined ? {} : { as, v: asVersion }) };
}

const routed = (accept: string) =>
  accept
    .split(',')
    .some((clause) =>
      ['*/*', 'application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf'].includes(
        (clause.split(';')[0] ?? '').trim(),
      ),
    );

describe('choices recorded from upstream', () => {
  test.each(recorded)('$accept', ({ accept, builtIn, custom, status }) => {
    expect(choice(negotiate(accept, BUILT_IN))).toEqual(routed(accept) ? builtIn : null);
    expect(choice(negotiate(accept, CUSTOM))).toEqual(custom);
    expect(choice(negotiateStatus(accept))).toEqual(status);
  });
});

describe('row N1: a client', () => {
  test.each([undefined, '', '  ', '*/*', 'application/json', 'application/json;q=0', 'application/json;foo=bar'])(
    'that accepts %j gets JSON',
    (accept) => {
      expect(negotiate(accept, BUILT_IN)).toEqual({ mediaType: 'json', as: undefined, asVersion: 'v1', pretty: false });
    },
  );

  test('gets the first of what it weighs alike, and named types before wildcards', () => {
    const chosen = (accept: string) => negotiate(accept, BUILT_IN)?.mediaType;
    expect(chosen('application/yaml,application/json')).toBe('yaml');
    expect(chosen('application/json;q=0.5,application/vnd.kubernetes.protobuf')).toBe('protobuf');
    expect(chosen('*/*,application/yaml;q=0.1')).toBe('yaml');
    expect(chosen('application/cbor,application/vnd.kubernetes.protobuf,application/json')).toBe('protobuf');
  });

  test('that kubectl is gets a Table, and JSON where there is none', () => {
    const accept =
      'application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json';
    expect(negotiate(accept, BUILT_IN)).toMatchObject({ mediaType: 'json', as: 'Table', asVersion: 'v1' });
    expect(negotiateStatus(accept)).toMatchObject({ mediaType: 'json', as: undefined });
  });

  test('gets protobuf of a custom resource only as metadata', () => {
    const metadata = 'application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
    expect(negotiate('application/vnd.kubernetes.protobuf,application/json', CUSTOM)?.mediaType).toBe('json');
    expect(negotiate('application/vnd.kubernetes.protobuf', CUSTOM)).toBeUndefined();
    expect(negotiate(metadata, CUSTOM)).toMatchObject({ mediaType: 'protobuf', as: 'PartialObjectMetadataList' });
  });

  test('with more clauses than upstream sorts by insertion still gets the heaviest', () => {
    const light = Array.from({ length: 5000 }, (_, index) => `application/json;q=0.${index % 9}`);
    expect(negotiate([...light, 'application/yaml'].join(','), BUILT_IN)?.mediaType).toBe('yaml');
  });
});

describe('row G9: a 406', () => {
  const all = 'application/json, application/yaml, application/vnd.kubernetes.protobuf';
  const streams = 'application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch';

  test('of a built-in type comes from the router where no type is named as it knows it', () => {
    for (const accept of ['text/plain', 'application/*', '*', 'APPLICATION/JSON', ',', 'application/cbor']) {
      expect(negotiate(accept, BUILT_IN)).toBeUndefined();
      expect(notAcceptableStatus(accept, BUILT_IN)).toMatchObject({
        message: `406: Not Acceptable\n\nAvailable representations: ${all}, ${streams}`,
        details: {},
      });
    }
    expect(notAcceptableStatus('text/plain', { ...BUILT_IN, verb: 'get' }).message).toMatch(new RegExp(`: ${all}$`));
  });

  test('of a custom resource, or of parameters, comes from the handler', () => {
    const message = `only the following media types are accepted: ${all}`;
    expect(notAcceptableStatus('text/plain', CUSTOM).message).toBe(message);
    expect(notAcceptableStatus('application/json;sv=v2', BUILT_IN).message).toBe(message);
    expect(negotiate('application/*', CUSTOM)?.mediaType).toBe('json');
  });

  test('of a watch in YAML names what can be streamed (row F3)', () => {
    const watch = { ...BUILT_IN, verb: 'watch' } as const;
    expect(negotiate('application/yaml,application/json', watch)).toBeUndefined();
    expect(notAcceptableStatus('application/yaml', watch).message).toBe(
      `only the following media types are accepted: ${streams}`,
    );
    expect(negotiate('application/vnd.kubernetes.protobuf;stream=watch', watch)?.mediaType).toBe('protobuf');
  });
});

test('rows F1 and F2: JSON streams have no parameter, protobuf streams do', () => {
  expect(contentType('json', true)).toBe('application/json');
  expect(contentType('protobuf', true)).toBe('application/vnd.kubernetes.protobuf;stream=watch');
  expect(contentType('protobuf', false)).toBe('application/vnd.kubernetes.protobuf');
  expect(contentType('yaml', false)).toBe('application/yaml');
});

test.each([
  ['', undefined, false],
  ['', 'kubectl/v1.37.2', false],
  ['', 'curl/8.0', true],
  ['', 'Wget/1.25', true],
  ['', 'Mozilla/5.0 (X11)', true],
  ['pretty=', 'curl/8.0', true],
  ['pretty=false', 'curl/8.0', false],
  ['pretty=yes', 'curl/8.0', false],
  ['pretty=1', 'kubectl/v1.37.2', true],
  ['pretty=0', undefined, false],
])('row N4: %j asked by %s', (query, agent, pretty) => {
  expect(prettyRequested(QueryParameters.parse(query), agent)).toBe(pretty);
});
