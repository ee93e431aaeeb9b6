import { expect, test } from 'vitest';
import { nearestName } from './nearest-name.ts';

const KNOWN = ['bind-address', 'secure-port', 'admin-port', 'admin-address', 'v'];

test.each([
  ['bind-addres', 'bind-address'],
  ['bindaddress', 'bind-address'],
  ['secureport', 'secure-port'],
  ['admin_port', 'admin-port'],
  ['adress', undefined],
  ['etcd-servers', undefined],
  ['x', undefined],
  ['', undefined],
])('for %j the nearest is %j', (name, nearest) => {
  expect(nearestName(name, KNOWN)).toBe(nearest);
});
