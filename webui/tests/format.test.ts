import { describe, expect, it } from 'vitest';
import { big, bytes, count, moment, percent, rate, readTime, signed, span } from '../src/lib/format';

describe('counts', () => {
  it('keep all digits beyond 2^53', () => {
    expect(count('9223372036854775807')).toBe('9,223,372,036,854,775,807');
    expect(big('9007199254740993') + 1n).toBe(9007199254740994n);
  });
  it('of nonsense are 0, so that a figure never breaks a page', () => {
    for (const bad of ['', 'x', '1.5', undefined]) expect(big(bad)).toBe(0n);
    expect(big(Number.NaN)).toBe(0n);
  });
  it('with a sign', () => {
    expect([signed(5n), signed(-1200n), signed(0n)]).toEqual(['+5', '-1,200', '0']);
  });
});

describe('rates', () => {
  it.each([
    [0, '0'], [0.04, '0'], [0.25, '0.3'], [1.25, '1.3'], [9.94, '9.9'], [10, '10'], [999.4, '999'], [999.6, '1.0k'], [1234, '1.2k'],
    [12_400, '12.4k'], [124_000, '124k'], [1_500_000, '1.5M'], [undefined, '0'], [Number.NaN, '0'],
  ])('%s is %s', (value, text) => expect(rate(value)).toBe(text));
});

describe('sizes', () => {
  it.each([
    ['0', '0 B'], ['999', '999 B'], ['1023', '1023 B'], ['1024', '1.0 KiB'], ['12345', '12 KiB'], ['3221225472', '3.0 GiB'], ['9223372036854775807', '8192 PiB'],
  ])('%s is %s', (value, text) => expect(bytes(value)).toBe(text));
});

describe('spans', () => {
  it.each([
    [0, '0 ms'], [999, '999 ms'], [1000, '1.0 s'], [9_999, '9.9 s'], [59_999, '59 s'], [130_200, '2m10s'], [3_600_000, '1h00m'], [90_000_000, '1d01h'],
    [-1, '–'], [undefined, '–'],
  ])('%s ms is %s', (ms, text) => expect(span(ms)).toBe(text));
});

describe('times', () => {
  it('have milliseconds, cut off and not rounded', () => {
    expect(moment('2026-10-09T14:02:11.482999Z', 'utc')).toBe('2026-10-09 14:02:11.482');
    expect(moment(undefined, 'utc')).toBe('–');
    expect(moment('never', 'utc')).toBe('–');
  });
  it('are read as they are written', () => {
    const shown = moment('2026-10-09T14:02:11.482Z', 'local');
    expect(readTime(shown, 'local')).toBe('2026-10-09T14:02:11.482Z');
  });
  it.each([
    ['2026-10-09T14:02:11.000Z', '2026-10-09T14:02:11.000Z'],
    ['2026-10-09 14:02', '2026-10-09T14:02:00.000Z'],
    ['2026-10-09', '2026-10-09T00:00:00.000Z'],
    ['2026-10-09T14:02:11+02:00', '2026-10-09T12:02:11.000Z'],
    ['1791554531000', '2026-10-09T14:02:11.000Z'],
    ['9:05', '2026-10-09T09:05:00.000Z'],
    ['-30m', '2026-10-09T19:30:00.000Z'],
    ['−2 H', '2026-10-09T18:00:00.000Z'],
    ['14:02:11.5', '2026-10-09T14:02:11.500Z'],
  ])('%s in UTC is %s', (text, iso) => expect(readTime(text, 'utc', Date.parse('2026-10-09T20:00:00Z'))).toBe(iso));
  it.each(['', 'yesterday', '25:00', '2026-13-01', '123', '-30', '-30 weeks', '30m'])('%s is none', (text) => expect(readTime(text, 'utc')).toBeUndefined());
});

describe('shares', () => {
  it('of nothing are 0', () => {
    expect([percent(0n, 0n), percent(1n, 10_000n), percent(41n, 100n), percent(1n, 3n), percent(5n, 5n)]).toEqual(['0%', '<0.1%', '41%', '33%', '100%']);
  });
});
