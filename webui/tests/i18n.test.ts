import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { hash, lookup, pack } from '../src/i18n/hash';
import { zh } from '../src/i18n/zh';
import { texts } from './texts';

const used = texts(join(import.meta.dirname, '../src'));
const holes = (text: string) => (text.match(/\{\w+\}/g) ?? []).sort();

describe('Chinese', () => {
  it('has every text, and none that is not used', () => {
    expect(used.size).toBeGreaterThan(400);
    expect([...used].filter((text) => !(text in zh))).toEqual([]);
    expect(Object.keys(zh).filter((text) => !used.has(text))).toEqual([]);
  });
  it('fills in the same things', () => {
    for (const [text, other] of Object.entries(zh)) expect(holes(other), text).toEqual(holes(text));
  });
  it('is found when it is packed for a build', () => {
    const packed = pack(zh);
    const find = lookup(JSON.parse(JSON.stringify(packed)));
    for (const [text, other] of Object.entries(zh)) expect(find(text)).toBe(other);
    const stranger = Array.from({ length: 100 }, (_, i) => `x${i}`).find((x) => !Object.keys(zh).some((text) => hash(text, packed.seed) === hash(x, packed.seed)))!;
    expect(find(stranger)).toBeUndefined();
  });
});
