import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseApiRequest } from './api-request.ts';
import { notAcceptableStatus, prettyRequested } from './content-negotiation.ts';
import {
  continueConflict,
  invalidResourceVersion,
  nameConflict,
  parseGetOptions,
  parseListOptions,
  requestTimeoutSeconds,
  validateListOptions,
} from './list-options.ts';
import { unknownFieldLabelMessage } from './selectable-fields.ts';
import { statusResponse } from './status-response.ts';
import {
  badRequest,
  forbidden,
  notFound,
  notFoundPath,
  type StatusBody,
  StatusError,
  tooLargeResourceVersion,
  unauthorized,
} from './status.ts';

/** Refusals recorded from kube-apiserver 1.37.2; a protobuf body is in base64. */
interface Recorded {
  readonly name: string;
  readonly url: string;
  readonly accept?: string;
  readonly agent?: string;
  readonly code: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const recorded = readFileSync(new URL('testdata/upstream-statuses.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Recorded);

/** The refusal of a request by this room alone; `name` tells what only the server knew. */
function refusal({ name, url, accept, body }: Recorded): StatusBody | undefined {
  const request = parseApiRequest('GET', url);
  const custom = request.group === 'example.com';
  const verb = request.verb as 'get' | 'list' | 'watch';
  if (name.startsWith('401')) return unauthorized();
  if (name.startsWith('403')) return forbidden(request, name.includes('anonymous') ? 'system:anonymous' : 'alice', '');
  if (name === '404 path') return notFoundPath();
  if (name.startsWith('404')) return notFound(request, request.name);
  if (name === '406 watch in YAML') return undefined;
  if (name.startsWith('406')) return notAcceptableStatus(accept, { verb, customResource: custom });
  if (name.startsWith('504')) {
    const text = body.startsWith('{') ? body : Buffer.from(body, 'base64').toString('latin1');
    return tooLargeResourceVersion(request.query.get('resourceVersion') ?? '', /current: (\d+)/.exec(text)?.[1] ?? '');
  }
  try {
    requestTimeoutSeconds(request.query);
    if (verb === 'get') return invalidResourceVersion(parseGetOptions(request.query).resourceVersion, 'get');
    const options = parseListOptions(request.query);
    const [label] = options.fieldSelector.requirements.map(({ field }) => unknownFieldLabelMessage(request, field));
    return (
      validateListOptions(options) ??
      (label === undefined || options.fieldSelector.exactValue('metadata.name') !== undefined
        ? undefined
        : badRequest(label)) ??
      nameConflict(options, request.name) ??
      continueConflict(options) ??
      invalidResourceVersion(options.resourceVersion, verb)
    );
  } catch (error) {
    if (error instanceof StatusError) return error.status;
    throw error;
  }
}

describe('refusals recorded from upstream', () => {
  test.each(recorded.filter(({ name }) => name !== '406 watch in YAML'))('$name', (answer) => {
    const status = refusal(answer);
    if (status === undefined) throw new Error(`${answer.url} was not refused`);
    const pretty = prettyRequested(parseApiRequest('GET', answer.url).query, answer.agent ?? 'test');
    const response = statusResponse(status, answer.accept, pretty);
    const encoding = answer.headers['content-type']?.includes('protobuf') === true ? 'base64' : 'utf8';
    expect({ ...response, body: response.body.toString(encoding) }).toEqual({
      code: answer.code,
      headers: answer.headers,
      body: answer.body,
    });
  });

  test('in YAML are JSON text, which is YAML', () => {
    const response = statusResponse(notFound({ group: '', resource: 'pods' }, 'p'), 'application/yaml', true);
    expect(response.headers['content-type']).toBe('application/yaml');
    expect(response.body.toString()).toBe(
      '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods \\"p\\" not found","reason":"NotFound","details":{"name":"p","kind":"pods"},"code":404}\n',
    );
  });
});
