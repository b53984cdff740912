import { describe, expect, it } from 'vitest';
import { limitsText, parseLimits } from '../src/lib/limits';

describe('limits', () => {
  it('are read as they are written', () => {
    for (const [text, limits] of [
      ['', {}],
      ['messages=1000 bytes=4MiB connections=20 calls=50', { messages: 1000, bytes: 4 << 20, connections: 20, calls: 50 }],
      ['bytes=1500', { bytes: 1500 }],
      ['bytes=1TiB', { bytes: 2 ** 40 }],
    ] as const) {
      expect(parseLimits(text)).toEqual(limits);
      expect(limitsText(limits)).toBe(text);
    }
    expect(parseLimits(' calls=0,  bytes=2048KiB ')).toEqual({ calls: 0, bytes: 2 << 20 });
    expect(limitsText({ calls: 0 })).toBe('');
  });

  it('that make no sense are not read', () => {
    for (const text of ['messages', 'messages=', 'messages=-1', 'messages=1.5', 'messages=1KiB', 'bytes=4MB', 'rate=1', 'calls=1 calls=2', 'bytes=9999999TiB', 'messages = 1']) {
      expect(parseLimits(text), text).toBeUndefined();
    }
  });
});
