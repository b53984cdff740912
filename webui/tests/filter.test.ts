import { describe, expect, it } from 'vitest';
import { addPattern, explain, matches, parseFilter, tagTree } from '../src/lib/filter';
import vectors from './filter_vectors.json';

describe('filters', () => {
  it.each(vectors.matches as [string, string, boolean][])('%j on %j: %s', (text, tag, want) => {
    const filter = parseFilter(text);
    if (typeof filter === 'string') throw new Error(filter);
    expect(matches(filter, tag)).toBe(want);
  });
  it.each(vectors.invalid)('%j is refused', (text) => expect(parseFilter(text)).toBe('nothing-follows'));
  it('are limited in bytes', () => {
    expect(typeof parseFilter('é'.repeat(512))).toBe('object');
    expect(parseFilter('é'.repeat(513))).toBe('too-long');
  });
  it('with many # are quick on a tag that fits almost', () => {
    const filter = parseFilter('#.a.'.repeat(12) + 'b');
    if (typeof filter === 'string') throw new Error(filter);
    expect(matches(filter, 'a.'.repeat(63) + 'c')).toBe(false);
  });
  it('are taken apart for their marks', () => {
    expect(explain('eu.+.*;!*.x;')).toEqual([
      { text: 'eu.+.*', negated: false, parts: [{ text: 'eu', kind: 'literal' }, { text: '+', kind: 'one' }, { text: '*', kind: 'rest' }] },
      { text: '!*.x', negated: true, parts: [{ text: '*', kind: 'one' }, { text: 'x', kind: 'literal' }] },
    ]);
  });
  it('take a pattern once', () => {
    expect(addPattern('', 'a.*')).toBe('a.*');
    expect(addPattern('a.*', 'b')).toBe('a.*;b');
    expect(addPattern('a.*;b', 'b')).toBe('a.*;b');
  });
});

describe('tags', () => {
  it('are summed by their parts', () => {
    const tree = tagTree([{ tag: 'eu.de', count: '40' }, { tag: 'us', count: '50' }, { tag: 'eu.fr', count: '15' }, { tag: '', count: '7' }]);
    expect(tree.map((n) => [n.tag, n.count])).toEqual([['eu', 55n], ['us', 50n]]);
    expect(tree[0]!.children.map((n) => [n.tag, n.count])).toEqual([['eu.de', 40n], ['eu.fr', 15n]]);
  });
});
