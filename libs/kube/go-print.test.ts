import { expect, test } from 'vitest';
import { goPrint } from './go-print.ts';

// What fmt.Sprint of Go 1.26 prints of what kube-apiserver's decoder makes of the text.
test.each([
  ['1', '1'],
  ['-3', '-3'],
  ['true', 'true'],
  ['"a b"', 'a b'],
  ['9223372036854775807', '9223372036854775807'],
  ['9223372036854775808', '9.223372036854776e+18'],
  ['100000000000000000000', '1e+20'],
  ['1e25', '1e+25'],
  ['-1e21', '-1e+21'],
  ['1e6', '1e+06'],
  ['1000000.0', '1e+06'],
  ['1234567.5', '1.2345675e+06'],
  ['999999.5', '999999.5'],
  ['1.5', '1.5'],
  ['-0', '0'],
  ['-0.0', '-0'],
  ['-0e5', '-0'],
  ['0.0001', '0.0001'],
  ['0.00001', '1e-05'],
  ['{"b":1,"a":["x",null,true,{}],"é":"q","Z":1.5}', 'map[Z:1.5 a:[x <nil> true map[]] b:1 é:q]'],
])('Go prints %s as %s', (json, printed) => {
  expect(goPrint(json)).toBe(printed);
});
