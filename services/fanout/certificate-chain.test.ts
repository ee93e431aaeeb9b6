import { describe, expect, test } from 'vitest';
import { CertificateError, verifyClientChain } from './certificate-chain.ts';
import { der, DER_SEQUENCE } from './der.ts';
import { CLIENT_AUTH, kubernetesName, SERVER_AUTH } from './make-certificate.ts';
import { testAuthority, testIdentity, type TestIdentity } from './test-certificates.ts';

const root = testAuthority();
const now = Date.now();
const HOUR = 3600 * 1000;

function verify(
  presented: readonly [TestIdentity, ...TestIdentity[]],
  authorities: readonly TestIdentity[] = [root],
  at = now,
) {
  const [leaf, ...rest] = presented.map(({ certificate }) => certificate);
  return verifyClientChain(
    [leaf!, ...rest],
    authorities.map(({ certificate }) => certificate),
    at,
  );
}

function codeOf(
  presented: readonly [TestIdentity, ...TestIdentity[]],
  authorities?: readonly TestIdentity[],
  at?: number,
): string {
  try {
    verify(presented, authorities, at);
    return 'accepted';
  } catch (error) {
    if (error instanceof CertificateError) return error.code;
    throw error;
  }
}

/** An authority under `issuer` with a name of its own. */
function intermediate(
  name: string,
  issuer: TestIdentity,
  wanted: Parameters<typeof testAuthority>[0] = {},
): TestIdentity {
  return testAuthority({ subject: kubernetesName(name), issuer, ...wanted });
}

describe('a chain', () => {
  test('from the authority itself is good', () => {
    const leaf = testIdentity({ issuer: root });
    expect(verify([leaf])).toEqual([leaf.certificate, root.certificate]);
  });

  test('is found over intermediates in any order, with strangers among them', () => {
    const first = intermediate('one', root);
    const second = intermediate('two', first);
    const leaf = testIdentity({ issuer: second });
    expect(verify([leaf, first, testAuthority(), second])).toHaveLength(4);
    expect(codeOf([leaf, second])).toBe('unknown_authority');
    expect(codeOf([leaf])).toBe('unknown_authority');
  });

  test('takes the good one of two authorities with the same name', () => {
    const other = testAuthority();
    const leaf = testIdentity({ issuer: root });
    expect(verify([leaf], [other, root])).toEqual([leaf.certificate, root.certificate]);
    expect(codeOf([leaf], [other])).toBe('unknown_authority');
    expect(codeOf([leaf], [])).toBe('unknown_authority');
  });

  test('may end in a certificate that is trusted itself', () => {
    const leaf = testIdentity();
    expect(verify([leaf], [leaf])).toEqual([leaf.certificate]);
    expect(codeOf([leaf])).toBe('unknown_authority');
  });

  test('has at most five intermediates', () => {
    const links = [root];
    for (let depth = 1; depth <= 6; depth++) links.push(intermediate(`depth ${depth}`, links.at(-1)!));
    const chain = (depth: number) => codeOf([testIdentity({ issuer: links[depth]! }), ...links.slice(1, depth + 1)]);
    expect(chain(5)).toBe('accepted');
    expect(chain(6)).toBe('unknown_authority');
  });

  test('respects path lengths', () => {
    const short = testAuthority({ subject: kubernetesName('short'), authority: { pathLength: 0 } });
    const below = intermediate('below', short);
    expect(codeOf([testIdentity({ issuer: short })], [short])).toBe('accepted');
    expect(codeOf([testIdentity({ issuer: below }), below], [short])).toBe('path_too_long');
  });

  test('is not led astray by a certificate that claims the right issuer', () => {
    const forged = testIdentity({ issuer: { ...root, key: testAuthority().key } });
    expect(codeOf([forged])).toBe('unknown_authority');
  });

  test('is not issued by an ordinary client', () => {
    const client = testIdentity({ subject: kubernetesName('client'), issuer: root });
    expect(codeOf([testIdentity({ issuer: client }), client])).toBe('not_an_authority');
  });
});

describe('the dates of each link', () => {
  const past = { notBefore: new Date(now - 2 * HOUR), notAfter: new Date(now - HOUR) };
  const future = { notBefore: new Date(now + HOUR), notAfter: new Date(now + 2 * HOUR) };

  test.each([
    ['expired', past],
    ['not_yet_valid', future],
  ])('%s', (code, period) => {
    const link = intermediate('link', root, period);
    const lapsedRoot = testAuthority(period);
    expect(codeOf([testIdentity({ issuer: root, ...period })])).toBe(code);
    expect(codeOf([testIdentity({ issuer: link }), link])).toBe(code);
    expect(codeOf([testIdentity({ issuer: lapsedRoot })], [lapsedRoot])).toBe(code);
  });

  test('are counted to the second, both ends included', () => {
    const notBefore = new Date(Math.floor(now / 1000) * 1000 - 5000);
    const notAfter = new Date(notBefore.getTime() + 8000);
    const leaf = testIdentity({ issuer: root, notBefore, notAfter });
    expect(codeOf([leaf], [root], notBefore.getTime() - 1)).toBe('not_yet_valid');
    expect(codeOf([leaf], [root], notBefore.getTime())).toBe('accepted');
    expect(codeOf([leaf], [root], notAfter.getTime())).toBe('accepted');
    expect(codeOf([leaf], [root], notAfter.getTime() + 1)).toBe('expired');
  });
});

describe('extended key usage', () => {
  test.each([
    [[CLIENT_AUTH], 'accepted'],
    [[SERVER_AUTH], 'not_for_clients'],
    [[SERVER_AUTH, CLIENT_AUTH], 'accepted'],
    [[], 'accepted'],
    [['2.5.29.37.0'], 'accepted'],
    [['1.2.3.4'], 'not_for_clients'],
  ])('%j: %s', (extendedKeyUsages, code) => {
    expect(codeOf([testIdentity({ issuer: root, extendedKeyUsages })])).toBe(code);
  });

  test('of an authority limits what it issues', () => {
    const servers = intermediate('servers', root, { extendedKeyUsages: [SERVER_AUTH] });
    expect(codeOf([testIdentity({ issuer: servers }), servers])).toBe('not_for_clients');
  });
});

describe('critical extensions that are not understood', () => {
  const nameConstraints = ['2.5.29.30', true, der(DER_SEQUENCE)] as const;

  test('refuse the leaf and its issuers', () => {
    const constrained = intermediate('constrained', root, { extensions: [nameConstraints] });
    expect(codeOf([testIdentity({ issuer: root, extensions: [['1.2.3.4', true, der(DER_SEQUENCE)]] })])).toBe(
      'unknown_critical_extension',
    );
    expect(codeOf([testIdentity({ issuer: constrained }), constrained])).toBe('unknown_critical_extension');
  });

  test('do not matter when they are not critical', () => {
    expect(codeOf([testIdentity({ issuer: root, extensions: [['1.2.3.4', false, der(DER_SEQUENCE)]] })])).toBe(
      'accepted',
    );
  });

  test('an extension that comes twice is malformed', () => {
    expect(codeOf([testIdentity({ issuer: root, extensions: [['2.5.29.19', true, der(DER_SEQUENCE)]] })])).toBe(
      'malformed',
    );
  });
});

test('a bundle of look-alikes costs a bounded number of signature checks', () => {
  const key = testAuthority();
  const alike = Array.from({ length: 10 }, () =>
    intermediate('alike', key, {
      issuer: { ...key, certificate: testAuthority({ subject: kubernetesName('alike') }).certificate },
    }),
  );
  const leaf = testIdentity({ issuer: alike[0]! });
  const before = performance.now();
  expect(codeOf([leaf, ...alike])).toBe('unknown_authority');
  expect(performance.now() - before).toBeLessThan(1_000);
});
