import type { IncomingHttpHeaders } from 'node:http';
import { describe, expect, test } from 'vitest';
import { readRequestHead } from './request-head.ts';

function read(change: { method?: string; target?: string; headers?: IncomingHttpHeaders; rawHeaders?: string[] }) {
  return readRequestHead({ method: 'GET', target: '/api', headers: {}, rawHeaders: [], maxHeaderPairs: 4, ...change });
}

describe('the request target', () => {
  test.each([
    ['/api/v1/pods?watch=true', '/api/v1/pods?watch=true'],
    ['https://dogwatch:6443/api?x=1', '/api?x=1'],
    ['http://dogwatch', '/'],
    ['HTTPS://dogwatch?x', '/?x'],
  ])('%s is %s', (target, url) => {
    expect(read({ target })).toMatchObject({ url });
  });

  test.each(['', 'api', 'ftp://dogwatch/api', '/api#fragment', '*', 'https:///api'])('"%s" is refused', (target) => {
    expect(read({ target })).toMatchObject({ status: 400 });
  });

  test('* is for OPTIONS', () => {
    expect(read({ method: 'OPTIONS', target: '*' })).toMatchObject({ url: '*' });
  });

  test('the authority of an absolute target goes before Host', () => {
    const headers = { host: 'other' };
    read({ target: 'https://dogwatch:1/', headers });
    expect(headers.host).toBe('dogwatch:1');
  });

  test('CONNECT is refused', () => {
    expect(read({ method: 'CONNECT', target: 'x:443' })).toMatchObject({ status: 405 });
  });
});

describe('headers', () => {
  test('impersonation is kept line by line, commas and all', () => {
    const headers = { 'impersonate-group': 'cn=a,ou=b, c', 'impersonate-user': 'x' };
    const rawHeaders = ['Impersonate-User', 'x', 'Impersonate-Group', 'cn=a,ou=b', 'impersonate-GROUP', 'c'];
    expect(read({ headers, rawHeaders })).toMatchObject({
      headers: { 'impersonate-group': ['cn=a,ou=b', 'c'], 'impersonate-user': ['x'] },
    });
  });

  test('more lines than the bound are refused, not cut', () => {
    expect(read({ rawHeaders: Array.from({ length: 8 }, () => 'x') })).not.toHaveProperty('status');
    expect(read({ rawHeaders: Array.from({ length: 10 }, () => 'x') })).toMatchObject({ status: 431 });
  });

  test.each(['Impersonate-User', 'keep-alive, authorization', 'close,X-Remote-Group'])(
    'a Connection header "%s" is refused (CVE-2021-31999)',
    (connection) => {
      expect(read({ headers: { connection } })).toMatchObject({ status: 400 });
    },
  );

  test('an ordinary Connection header is none of our business', () => {
    expect(read({ headers: { connection: 'Upgrade, HTTP2-Settings' } })).not.toHaveProperty('status');
  });
});
