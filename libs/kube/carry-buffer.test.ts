import { expect, test } from 'vitest';
import { CarryBuffer } from './carry-buffer.ts';

test('gives back what was appended, in its exact size, and is empty then', () => {
  const carry = new CarryBuffer();
  for (const part of ['ab', '', 'cde']) carry.append(Buffer.from(part));
  expect(carry.length).toBe(5);
  expect(carry.peek().toString()).toBe('abcde');
  expect(carry.take().toString()).toBe('abcde');
  expect(carry.length).toBe(0);
});

test('what was taken is not touched by what comes next', () => {
  const carry = new CarryBuffer();
  carry.append(Buffer.from('first'));
  const taken = carry.take();
  carry.append(Buffer.from('other'));
  expect(taken.toString()).toBe('first');
});

test('grows to any size', () => {
  const carry = new CarryBuffer();
  const parts = Array.from({ length: 300 }, (_, index) => Buffer.alloc(1000, index));
  for (const part of parts) carry.append(part);
  expect(carry.take().equals(Buffer.concat(parts))).toBe(true);
});
