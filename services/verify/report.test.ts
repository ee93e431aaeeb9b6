import { describe, expect, test } from 'vitest';
import type { Compared } from './comparisons.ts';
import { curlLine } from './curl.ts';
import { Findings } from './findings.ts';
import { describe as describeFinding, makeReport, renderDifference, renderSummary } from './report.ts';
import { ROWS } from './rows.ts';
import { testAnswer, testRequest } from './test-world.ts';

const SERVERS = { upstream: new URL('https://up:1'), dogwatch: new URL('https://dog:2') };

function differing(path: string, upstream: string, dogwatch: string): Compared {
  return {
    exchange: { request: testRequest(path), upstream: testAnswer(upstream), dogwatch: testAnswer(dogwatch) },
    comparison: {
      difference: { part: 'body', upstream: Buffer.from(upstream), dogwatch: Buffer.from(dogwatch) },
      wanted: new Set(['list version']),
    },
    repeats: 2,
    retries: 1,
    restless: false,
  };
}

describe('a difference', () => {
  test('is told with what repeats it, and around its first byte', () => {
    const finding = new Findings().add(differing('/api/v1/pods', 'the same, then a', 'the same, then b'))!;
    const text = renderDifference(describeFinding(finding, 42, SERVERS));
    expect(text).toContain('--seed 42 --only 7: body, at byte 15');
    expect(text).toContain('kube-apiserver: the same, then a');
    expect(text).toContain("'https://up:1/api/v1/pods'");
    expect(text).toContain("'https://dog:2/api/v1/pods'");
  });

  test('in Secrets shows nothing of them', () => {
    const finding = new Findings().add(differing('/api/v1/secrets', 'swordfish', 'swordfisj'))!;
    expect(renderDifference(describeFinding(finding, 1, SERVERS))).not.toContain('swordfis');
  });
});

test('the counts', () => {
  const findings = new Findings();
  findings.add(differing('/api/v1/pods?foo=bar', 'a', 'b'));
  const report = makeReport(findings, {
    seed: 5,
    servers: SERVERS,
    cache: { served: 3, forwarded: 1, refused: 0 },
  });
  expect(report).toMatchObject({ requests: 1, byKind: { list: 1 }, repeats: 2, retries: 1, rows: { G2: 1 } });
  expect(report.rowsNotHit).toContain('L13');
  const text = renderSummary(report);
  expect(text).toContain('from the cache       3 of 4 (75.0 %)');
  expect(text).toContain('forgiven             list version 1, try again 1');
});

test('rows have names of their own', () => {
  expect(new Set(ROWS.map(({ id }) => id)).size).toBe(ROWS.length);
});

describe('the line for a shell', () => {
  test('sends the same bytes, and never a credential', () => {
    const request = testRequest("/api/v1/pods/\u00e9?a='b'", { method: 'PUT', body: '{}', headers: { accept: 'x' } });
    expect(curlLine(request, SERVERS.upstream)).toBe(
      `curl -skS -i --path-as-is --http1.1 -X PUT -H "Authorization: Bearer $TOKEN" -H 'user-agent:' -H 'accept: x' --data-binary '{}' $'https://up:1/api/v1/pods/\\xe9?a=\\x27b\\x27'`,
    );
  });
});
