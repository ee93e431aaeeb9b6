import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { decodeEnvelope } from './envelope-codec.ts';
import { decodeReply, decodeRequest } from './request-codec.ts';
import { FORMAT_VERSION, READABLE_VERSIONS, unseal } from './sealed-message.ts';
import {
  type RecordedMessages,
  SAMPLE_ENVELOPES,
  SAMPLE_OPTIONS,
  SAMPLE_REPLIES,
  SAMPLE_REQUESTS,
  SAMPLE_STATES,
  encodedSamples,
} from './test-samples.ts';
import { TrackStateReader } from './track-state-codec.ts';

function recorded(version: number): RecordedMessages {
  const file = new URL(`./testdata/messages-v${version}.json`, import.meta.url);
  return JSON.parse(readFileSync(file, 'utf8')) as RecordedMessages;
}

function bytes(parts: readonly string[]): Buffer[] {
  return parts.map((part) => Buffer.from(part, 'base64'));
}

/** Everything a program that reads `messages` is told. */
function expectSamples(messages: RecordedMessages): void {
  const { track, term, sequence } = SAMPLE_OPTIONS;
  expect(Object.keys(messages.envelopes)).toEqual(Object.keys(SAMPLE_ENVELOPES));
  for (const [name, envelope] of Object.entries(SAMPLE_ENVELOPES)) {
    expect(decodeEnvelope(bytes(messages.envelopes[name] ?? []))).toEqual({ envelope, track, term, sequence });
  }
  expect(bytes(messages.requests).map(decodeRequest)).toEqual(SAMPLE_REQUESTS);
  const outcomes = SAMPLE_REPLIES.map(({ kind }, place) => {
    try {
      return { kind, outcome: decodeReply(kind, bytes(messages.replies[place] ?? [])) };
    } catch (error) {
      return { kind, outcome: { error } };
    }
  });
  expect(outcomes).toEqual(SAMPLE_REPLIES);
  const states = messages.states.map((pages) => {
    const reader = new TrackStateReader();
    return bytes(pages)
      .map((page) => reader.add(page))
      .at(-1);
  });
  expect(states).toEqual(SAMPLE_STATES);
}

describe('the format of the bus', () => {
  test.each(READABLE_VERSIONS)('version %i is read as it was recorded', (version) => {
    const messages = recorded(version);
    expect(unseal(Buffer.from(messages.requests[0] ?? '', 'base64')).version).toBe(version);
    expect(messages.envelopes['listing']?.length).toBeGreaterThan(1);
    expectSamples(messages);
  });

  test('is read in the version that is written and the one before it', () => {
    expect(READABLE_VERSIONS).toEqual([FORMAT_VERSION - 1, FORMAT_VERSION].filter((version) => version > 0));
    expectSamples(encodedSamples());
  });

  test('has the recorded bytes in its version: what changes them needs a new version, or readers of it fail', () => {
    const [written, before] = [encodedSamples(), recorded(FORMAT_VERSION)];
    expect(written.requests).toEqual(before.requests);
    for (const name of ['short batch', 'empty listing', 'listed', 'watermark', 'end']) {
      expect(written.envelopes[name]).toEqual(before.envelopes[name]);
    }
    expect(written.replies).toEqual(before.replies);
    expect(written.states).toEqual(before.states);
  });
});
