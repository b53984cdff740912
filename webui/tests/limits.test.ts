import { describe, expect, it } from 'vitest';
import { limitsText, parseLimits, usageText } from '../src/lib/limits';

describe('limits', () => {
  it('are read as they are written', () => {
    for (const [text, limits] of [
      ['', {}],
      ['messages=1000 bytes=4MiB connections=20 calls=50', { messages: 1000, bytes: 4 << 20, connections: 20, calls: 50 }],
      ['bytes=1500', { bytes: 1500 }],
      ['bytes=1TiB', { bytes: 2 ** 40 }],
      ['stored=10GiB topics=100', { stored: 10 * 2 ** 30, topics: 100 }],
    ] as const) {
      expect(parseLimits(text)).toEqual(limits);
      expect(limitsText(limits)).toBe(text);
    }
    expect(parseLimits(' calls=0,  bytes=2048KiB ')).toEqual({ calls: 0, bytes: 2 << 20 });
    expect(limitsText({ calls: 0 })).toBe('');
  });

  it('stand beside what is in use', () => {
    expect(usageText({ connections: 2, calls: 0, stored: 1536, topics: 3 }, { stored: 1 << 20, topics: 3 })).toBe('connections=2  calls=0  stored=1536 / 1MiB  topics=3 / 3');
  });

  it('that make no sense are not read', () => {
    for (const text of ['messages', 'messages=', 'messages=-1', 'messages=1.5', 'messages=1KiB', 'bytes=4MB', 'rate=1', 'calls=1 calls=2', 'topics=1KiB', 'bytes=9999999TiB', 'messages = 1']) {
      expect(parseLimits(text), text).toBeUndefined();
    }
  });
});
