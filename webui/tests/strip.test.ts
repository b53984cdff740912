import { describe, expect, it } from 'vitest';
import { offsetAt, pan, placeOf, readBuckets, share, step, ticks, timeAt, zoom, type Bucket } from '../src/lib/strip';

const base = 9_007_199_254_740_993n; // beyond what a number holds exactly
const bucket = (from: bigint, to: bigint, time?: number): Bucket => ({ from, to, count: to - from, matched: 0n, exact: true, time });
const even = [bucket(base, base + 100n), bucket(base + 100n, base + 200n), bucket(base + 200n, base + 300n), bucket(base + 300n, base + 400n)];

const evenView = { from: base, to: base + 400n };

describe('places on the strip', () => {
  it('go there and back for each offset, however large', () => {
    for (let o = base; o < base + 400n; o += 7n) {
      const back = offsetAt(even, placeOf(even, o, evenView));
      expect(back >= o - 1n && back <= o).toBe(true);
    }
  });
  it('are at the ends for the ends, and outside for what is outside', () => {
    expect(placeOf(even, base, evenView)).toBe(0);
    expect(placeOf(even, base + 400n, evenView)).toBe(1);
    expect(placeOf(even, base - 1n, evenView)).toBeLessThan(0);
    expect(placeOf(even, base + 401n, evenView)).toBeGreaterThan(1);
    expect([offsetAt(even, -1), offsetAt(even, 0), offsetAt(even, 1), offsetAt(even, 2)]).toEqual([base, base, base + 400n, base + 400n]);
  });
  it('follow the buckets of a time axis, some of which are empty', () => {
    const uneven = [bucket(0n, 10n, 0), bucket(10n, 10n, 1000), bucket(10n, 1000n, 2000)];
    expect(placeOf(uneven, 5n, { from: 0n, to: 20n })).toBeCloseTo(1 / 6);
    expect(placeOf(uneven, 10n, { from: 0n, to: 20n })).toBeCloseTo(2 / 3);
    expect(offsetAt(uneven, 0.5)).toBe(10n);
    expect(timeAt(uneven, 5n)).toBe(500);
    expect(timeAt(uneven, 500n)).toBe(2000);
    expect(timeAt(uneven, 1000n)).toBeUndefined();
  });
  it('are even until there are buckets', () => {
    expect([-1n, 0n, 5n, 20n, 21n].map((o) => placeOf([], o, { from: 0n, to: 20n }))).toEqual([-0.01, 0, 0.25, 1, 1.01]);
    expect(placeOf([], 0n, { from: 0n, to: 0n })).toBe(0);
    expect(offsetAt([], 0.5)).toBe(0n);
  });
  it('are read from strings', () => {
    expect(readBuckets([{ from: '9007199254740993', to: '9007199254740995', count: '2' }])[0]).toMatchObject({ from: base, count: 2n, matched: 2n, exact: true });
  });
});

describe('keys', () => {
  const whole = { from: 1000n, to: 11_000n };
  it.each([
    ['ArrowLeft', false, 4999n], ['ArrowRight', false, 5001n], ['ArrowLeft', true, 4900n], ['ArrowRight', true, 5100n],
    ['PageUp', false, 6000n], ['PageDown', false, 4000n], ['Home', false, 1000n], ['End', false, 11_000n], ['x', false, undefined],
  ] as const)('%s (shift %s) goes to %s', (key, shift, want) => expect(step(key, shift, 5000n, whole, whole)).toBe(want));
  it('stay within the log', () => {
    expect(step('ArrowLeft', true, 1001n, whole, whole)).toBe(1000n);
    expect(step('ArrowRight', false, 11_000n, whole, whole)).toBe(11_000n);
    expect(step('ArrowRight', true, 5n, { from: 0n, to: 10n }, { from: 0n, to: 10n })).toBe(6n);
  });
});

describe('views', () => {
  const whole = { from: base, to: base + 1_000_000n };
  it('zoom around a place and back to all', () => {
    const near = zoom(whole, whole, base + 500_000n, 0.5);
    expect(near.to - near.from).toBe(500_000n);
    expect(near.from).toBe(base + 250_000n);
    expect(zoom(near, whole, base + 500_000n, 4)).toEqual(whole);
  });
  it('never leave the log nor get too narrow', () => {
    let view = whole;
    for (let i = 0; i < 60; i++) view = zoom(view, whole, base, 0.5);
    expect(view).toEqual({ from: base, to: base + 20n });
    expect(pan(view, whole, -1)).toEqual(view);
    expect(pan({ from: base, to: base + 100n }, whole, 0.5)).toEqual({ from: base + 50n, to: base + 150n });
    expect(pan({ from: whole.to - 100n, to: whole.to }, whole, 3).to).toBe(whole.to);
  });
  it('have round ticks, not more than asked for', () => {
    expect(ticks({ from: 812_345n, to: 1_204_551n }, 5)).toEqual([900_000n, 1_000_000n, 1_100_000n, 1_200_000n]);
    for (const span of [1n, 7n, 99n, 12_345n, 10n ** 15n]) {
      const found = ticks({ from: base, to: base + span }, 6);
      expect(found.length).toBeLessThanOrEqual(7);
    }
    expect(ticks({ from: 5n, to: 5n }, 5)).toEqual([]);
  });
  it('shares are never more than the whole', () => {
    expect(share(1, base)).toBe(base);
    expect(share(2, base)).toBe(base);
    expect(share(-1, base)).toBe(0n);
  });
});
