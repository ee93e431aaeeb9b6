import { expect, test } from 'vitest';
import { createAnnouncement } from './announcement.ts';
import { createLogger } from './log.ts';

function logged() {
  const lines: Record<string, unknown>[] = [];
  const write = (line: string): void => void lines.push(JSON.parse(line) as Record<string, unknown>);
  return { lines, log: createLogger({ level: 'info', pretty: false, destination: { write } }) };
}
const { signal } = new AbortController();

test('says in one line that the process serves, and is ready from then on', async () => {
  const { lines, log } = logged();
  const announcement = createAnnouncement(log, () => Promise.resolve({ adminPort: 7 }));
  expect(announcement.check()).toBe('not listening yet');
  await announcement.run(signal);
  expect(announcement.check()).toBeUndefined();
  expect(lines).toEqual([expect.objectContaining({ level: 'info', msg: 'serving', adminPort: 7 })]);
});

test('says nothing where something does not listen', async () => {
  const { lines, log } = logged();
  const announcement = createAnnouncement(log, () => Promise.resolve(undefined));
  await announcement.run(signal);
  expect([announcement.check(), lines]).toEqual(['not listening yet', []]);
});
