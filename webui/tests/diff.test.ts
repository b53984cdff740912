import { describe, expect, it } from 'vitest';
import { diffLines, shortened } from '../src/lib/diff';

const marks = { same: ' ', gone: '-', new: '+' };
const diff = (a: string[], b: string[]) => diffLines(a, b).map((l) => marks[l.kind] + l.text);

describe('differences', () => {
  it.each([
    ['nothing', '', '', ''],
    ['the same', 'abc', 'abc', ' a b c'],
    ['one in between', 'abd', 'abcd', ' a b+c d'],
    ['one less', 'abcd', 'acd', ' a-b c d'],
    ['one changed', 'abc', 'axc', ' a-b+x c'],
    ['all', 'ab', 'xy', '-a-b+x+y'],
    ['what is repeated', 'aab', 'ab', ' a-a b'],
    ['what both have in common', 'abcbdab', 'bdcaba', '-a b-c-b d+c a b+a'],
  ])('%s', (_, a, b, want) => {
    const got = diff([...a], [...b]);
    expect(got.join('')).toHaveLength(want.length);
    expect(got.join('')).toBe(want);
  });
  it('make one side into the other, whatever they are', () => {
    let seed = 7;
    const random = (n: number) => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) % n;
    for (let round = 0; round < 300; round++) {
      const side = () => Array.from({ length: random(12) }, () => 'abcd'[random(4)]!);
      const [a, b] = [side(), side()];
      const lines = diffLines(a, b);
      expect(lines.filter((l) => l.kind !== 'new').map((l) => l.text)).toEqual(a);
      expect(lines.filter((l) => l.kind !== 'gone').map((l) => l.text)).toEqual(b);
    }
  });
  it('of very long texts end, without looking for what they share', () => {
    const a = Array.from({ length: 5000 }, (_, i) => `a${i}`);
    const lines = diffLines(['x', ...a, 'y'], ['x', ...a.map((t) => t + '!'), 'y']);
    expect(lines).toHaveLength(10_002);
    expect(lines[0]!.kind + lines.at(-1)!.kind).toBe('samesame');
  });
  it('are shown with what is around them', () => {
    const a = [...'abcdefghij'];
    expect(shortened(diffLines(a, [...'abcdefghiX']), 2).map((l) => (typeof l === 'number' ? l : marks[l.kind] + l.text))).toEqual([7, ' h', ' i', '-j', '+X']);
  });
});
