import { describe, expect, it } from 'vitest';
import { scrolled, visible } from '../src/lib/window';

describe('rows in the document', () => {
  it('are those in view and a few around them', () => {
    expect(visible(0, 320, 32, 1000, 2)).toEqual({ from: 0, to: 12, before: 0, height: 32_000 });
    expect(visible(3200, 320, 32, 1000, 2)).toMatchObject({ from: 98, to: 112, before: 98 * 32 });
  });
  it('end with the list, also when it got shorter than what was scrolled to', () => {
    expect(visible(1_000_000, 320, 32, 20, 2)).toMatchObject({ from: 8, to: 20 });
    expect(visible(500, 320, 32, 0, 2)).toEqual({ from: 0, to: 0, before: 0, height: 0 });
    expect(visible(0, 320, 32, 3, 2)).toMatchObject({ from: 0, to: 3 });
  });
  it('cover the view wherever it is', () => {
    for (let top = 0; top < 3200; top += 13) {
      const s = visible(top, 100, 32, 100, 0);
      expect(s.before).toBeLessThanOrEqual(Math.min(top, 3100));
      expect(s.to * 32).toBeGreaterThanOrEqual(Math.min(top + 100, 3200));
    }
  });
});

describe('scrolling to a row', () => {
  it('moves by as little as shows it', () => {
    expect(scrolled(100, 320, 32, 0)).toBe(0);
    expect(scrolled(0, 320, 32, 5)).toBe(0);
    expect(scrolled(0, 320, 32, 10)).toBe(32);
  });
});
