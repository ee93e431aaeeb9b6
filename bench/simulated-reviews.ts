import { type Attributes, isAllowed, isPathAllowed, type SimulatedUser, userOfToken } from './simulated-access.ts';

interface Review {
  readonly spec?: {
    readonly token?: string;
    readonly user?: string;
    readonly groups?: readonly string[];
    readonly resourceAttributes?: Partial<Omit<Attributes, 'fieldSelector'>> & {
      readonly fieldSelector?: {
        readonly rawSelector?: string;
        readonly requirements?: readonly {
          readonly key: string;
          readonly operator: string;
          readonly values?: readonly string[];
        }[];
      };
    };
    readonly nonResourceAttributes?: { readonly path?: string };
  };
}

const PATHS: Record<string, 'token' | 'access' | 'self'> = {
  '/apis/authentication.k8s.io/v1/tokenreviews': 'token',
  '/apis/authorization.k8s.io/v1/subjectaccessreviews': 'access',
  '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews': 'self',
};

/** The plural of a review's path, undefined for other paths. */
export function reviewResource(path: string): { group: string; resource: string } | undefined {
  if (PATHS[path] === undefined) return undefined;
  const [, , group = '', , resource = ''] = path.split('/');
  return { group, resource };
}

/** The answered review: the request with its status. */
export function answerReview(path: string, body: string, caller: SimulatedUser): object {
  const review = JSON.parse(body) as Review;
  return {
    ...review,
    metadata: {},
    status: PATHS[path] === 'token' ? tokenStatus(review) : accessStatus(review, path, caller),
  };
}

function tokenStatus({ spec }: Review): object {
  const user = userOfToken(spec?.token ?? '');
  if (user === undefined) return { user: {}, error: 'invalid bearer token' };
  return {
    authenticated: true,
    user: { username: user.name, uid: `uid-${user.name}`, groups: user.groups },
    audiences: ['https://kubernetes.default.svc'],
  };
}

function accessStatus({ spec }: Review, path: string, caller: SimulatedUser): object {
  const user = PATHS[path] === 'self' ? caller : { name: spec?.user ?? '', groups: spec?.groups ?? [] };
  const wanted = spec?.resourceAttributes;
  if (wanted === undefined) return { allowed: isPathAllowed(user, spec?.nonResourceAttributes?.path ?? '') };
  const allowed = isAllowed(user, {
    verb: wanted.verb ?? '',
    group: wanted.group ?? '',
    resource: wanted.resource ?? '',
    subresource: wanted.subresource ?? '',
    namespace: wanted.namespace ?? '',
    name: wanted.name ?? '',
    fieldSelector: selectorText(wanted.fieldSelector),
  });
  return { allowed };
}

function selectorText(
  selector: NonNullable<NonNullable<Review['spec']>['resourceAttributes']>['fieldSelector'],
): string {
  if (selector?.rawSelector !== undefined) return selector.rawSelector;
  const requirements = selector?.requirements ?? [];
  return requirements
    .map(({ key, operator, values }) => `${key}${operator === 'In' ? '=' : '!='}${values?.[0] ?? ''}`)
    .join(',');
}
