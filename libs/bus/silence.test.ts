import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { describe, expect, test } from 'vitest';
import { Silence } from './silence.ts';

describe('silence', () => {
  test('counts from when somebody was last heard, while something comes through the table', () => {
    const clock = createFakeClock();
    const silence = new Silence(clock, 1_000);
    silence.proved();
    clock.advance(50);
    const heardAt = clock.now();
    for (let i = 0; i < 4; i++) {
      clock.advance(900);
      silence.proved();
    }
    expect(silence.of(heardAt)).toBe(3_600);
    clock.advance(100);
    expect(silence.of(heardAt)).toBe(3_700);
  });

  test('cannot be judged before anything has come, nor while nothing does', () => {
    const clock = createFakeClock();
    const silence = new Silence(clock, 1_000);
    clock.advance(5_000);
    expect(silence.of(0)).toBe(0);
    silence.proved();
    expect(silence.of(0)).toBe(0);
    clock.advance(1_000);
    expect(silence.of(0)).toBe(1_000);
    clock.advance(1);
    expect(silence.of(0)).toBe(0);
  });

  test('begins anew when something may have been held up', () => {
    const clock = createFakeClock();
    const silence = new Silence(clock, 1_000);
    silence.proved();
    clock.advance(900);
    silence.disturbed();
    expect(silence.of(0)).toBe(0);
    silence.proved();
    clock.advance(300);
    expect(silence.of(0)).toBe(300);
  });

  test('begins anew when the table comes back', () => {
    const clock = createFakeClock();
    const silence = new Silence(clock, 1_000);
    silence.proved();
    clock.advance(10_000);
    silence.proved();
    clock.advance(700);
    expect(silence.of(0)).toBe(700);
  });
});
