import { describe, expect, it } from 'vitest';
import type { Schemas } from '../src/api/client';
import { bins, endOf, firstKnown, gapsIn, goOn, readPast, trace, valueAt } from '../src/lib/history';
import { moments } from '../src/lib/plot';

const end = Date.parse('2026-11-30T12:00:00Z');
const told = (more: Partial<Schemas['History']> = {}): Schemas['History'] => ({
  range: '15m', step: 1000, count: 10, end: new Date(end).toISOString(), last: 1000, gaps: [], marks: [], ...more,
});

describe('figures over time', () => {
  it('are zero where the broker has no list, and unknown in gaps', () => {
    const past = readPast(told({ in: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], latency: [0, 4, 0, 0, 0, 0, 0, 0, 0, 0], gaps: [{ from: 2, to: 4 }] }));
    expect(past.start).toBe(end - 10_000);
    expect(past.lists.in).toEqual([1, 2, NaN, NaN, 5, 6, 7, 8, 9, 10]);
    expect(past.lists.lag).toEqual([0, 0, NaN, NaN, 0, 0, 0, 0, 0, 0]);
    expect(past.lists.latency.slice(0, 2), 'what nothing took is not known').toEqual([NaN, 4]);
    expect(valueAt(past, 'in', end - 1)).toBe(10);
    expect(valueAt(past, 'in', end)).toBeNaN();
    expect(gapsIn(past, 0, end)).toEqual([{ from: end - 8000, to: end - 6000 }]);
    expect(gapsIn(past, end - 7500, end - 7000)).toEqual([{ from: end - 7500, to: end - 7000 }]);
  });

  it('begin where something is known', () => {
    expect(firstKnown(readPast(told({ gaps: [{ from: 0, to: 4 }] })))).toBe(end - 6000);
    expect(firstKnown(readPast(told({ gaps: [{ from: 0, to: 10 }] })))).toBe(end - 10_000);
  });

  it('go on with what comes live, an interval each, and not before its time', () => {
    const past = readPast(told());
    expect(goOn(past, end - 1, { in: 9 }, false)).toBe(past);
    let now = goOn(past, end + 3500, { in: 9, lag: 4 }, false);
    expect(now.lists.in.slice(10)).toEqual([9, 9, 9, 9]);
    expect(now.lists.lag.slice(10)).toEqual([4, 4, 4, 4]);
    expect(now.lists.failed.slice(10), 'what does not come live').toEqual([NaN, NaN, NaN, NaN]);
    expect(endOf(now)).toBe(end + 4000);
    expect(now.read).toBe(10);
    now = goOn(now, end + 6000, { in: 1 }, true);
    expect(now.lists.in.slice(14), 'what was missed').toEqual([NaN, NaN, 1]);
    for (let i = 7; i < 60; i++) now = goOn(now, end + i * 1000, { in: i }, false);
    expect(now.lists.in).toHaveLength(20);
    expect(endOf(now)).toBe(end + 60_000);
    expect(valueAt(now, 'in', end + 59_500)).toBe(59);
    expect(now.read).toBe(0);
  });

  it('go on with the mean, the most or the sum of seconds in longer intervals', () => {
    let now = readPast(told({ step: 15_000 }));
    for (const [i, n] of [2, 4, 6].entries()) {
      now = goOn(now, end + i * 1000, { in: n, lag: n, failed: n, latency: i === 1 ? undefined : n }, false);
      now = goOn(now, end + i * 1000 + 400, { in: 99 }, false); // the same second
    }
    expect([now.lists.in, now.lists.lag, now.lists.failed].map((l) => l.slice(10))).toEqual([[4], [6], [12]]);
    expect(goOn(now, end - 5000, { in: 1 }, false), 'of what the broker told nothing changes').toBe(now);
    now = goOn(now, end + 15_000, { in: 1 }, false);
    expect(now.lists.in.slice(10)).toEqual([4, 1]);
  });

  it('are drawn with the mean of rates and the largest of lags, a value a pixel at most', () => {
    const past = readPast(told({ in: [1, 3, 5, 7, 0, 0, 0, 0, 0, 2], lag: [1, 9, 2, 2, 0, 0, 0, 0, 0, 7], gaps: [{ from: 4, to: 8 }] }));
    const seen = (key: 'in' | 'lag', from: number, width: number) => bins(past, key, from, end, width).map((b) => b.value);
    expect(seen('in', past.start, 5)).toEqual([2, 6, NaN, NaN, 1]);
    expect(seen('lag', past.start, 5)).toEqual([9, 2, NaN, NaN, 7]);
    expect(seen('lag', end - 2000, 500)).toEqual([0, 7]);
    expect(bins(past, 'in', past.start, end, 5)[0]!.time).toBe(past.start + 1000);
  });

  it('have lines that break at gaps, and dots for what stands alone', () => {
    const line = trace([1, 2, NaN, 3, NaN, 4, 5].map((value, time) => ({ time, value })), (x) => x, (y) => y);
    expect(line).toBe('M0.0 1.0L1.0 2.0M3.0 3.0h.1M5.0 4.0L6.0 5.0');
  });

  it('have days below 30 of them', () => {
    expect(moments(end - 30 * 86_400_000, end, 8).length).toBeLessThanOrEqual(8);
    expect(moments(end - 30 * 86_400_000, end, 8).length).toBeGreaterThan(3);
  });
});
