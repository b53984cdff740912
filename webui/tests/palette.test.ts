import { describe, expect, it } from 'vitest';
import { find, type Source } from '../src/pages/palette';

const source: Source = {
  topics: [{ name: 'billing-archive', groups: [] }, { name: 'orders', groups: ['billing', 'a-billing-copy'] }, { name: 'billing', groups: [] }],
  pages: [{ kind: 'page', label: 'Settings', hint: '', path: ['settings'] }],
  actions: [],
  here: 'orders',
};
const labels = (q: string) => find(source, q).map((e) => `${e.kind} ${e.label}`);

describe('the palette', () => {
  it('puts exact names first, a group by its own name too, and a word as an id last', () => {
    expect(labels('billing').slice(0, 2).sort()).toEqual(['group orders / billing', 'topic billing']);
    expect(labels('billing').at(-1)).toBe('id billing');
    expect(labels('orders')[0]).toBe('topic orders');
    expect(labels('settings')[0]).toBe('page Settings');
  });
  it('puts what looks like an id first', () => {
    expect(labels('0b1e5c7a9d3f4e21a8b7c6d5e4f30912')[0]).toBe('id 0b1e5c7a9d3f4e21a8b7c6d5e4f30912');
    expect(labels('9f2b0c1d-77aa-4f00-8e11-223344556677')[0]).toMatch(/^id /);
  });
  it('opens an offset of a topic', () => {
    expect(find(source, '#812,344')[0]).toMatchObject({ kind: 'offset', path: ['topics', 'orders', 'messages'], query: { at: '812344' } });
  });
});
