import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { covers, needed, parseGrant } from '../src/lib/grants';

interface Vectors {
  account: string;
  covers: [string, string, string, string, boolean][]; // grant, verb, topic, group
  invalid: string[];
}
const vectors = JSON.parse(readFileSync(join(import.meta.dirname, 'grant_vectors.json'), 'utf8')) as Vectors;

describe('grants', () => {
  it('cover what they cover for the broker', () => {
    for (const [text, verb, topic, group, want] of vectors.covers) {
      const grant = parseGrant(text, vectors.account);
      expect(grant, text).toBeDefined();
      expect(covers(grant!, verb, topic, group), `${text} ${verb} ${topic}/${group}`).toBe(want);
    }
  });
  it('are refused when the broker refuses them', () => {
    for (const text of vectors.invalid) expect(parseGrant(text, vectors.account), text).toBeUndefined();
  });
  it('are named when they are missing', () => {
    expect(needed('publish', 'Orders')).toBe('publish:Orders');
    expect(needed('move', 'orders', 'billing')).toBe('move:orders/billing');
    expect(needed('publish', 'orders', 'billing')).toBe('publish:orders');
    expect(needed('observe')).toBe('observe');
  });
});
