import { describe, expect, it } from 'vitest';
import { example, hints, timing, twins, typeText } from '../src/rpc/tryit';
import { errors, ms, share } from '../src/rpc/words';
import { sum } from '../src/settings/definitions';

const counts = { total: '12', answered: '8', failed: '1', unavailable: '1', timeout: '0', providerGone: '1', abandoned: '0' };

describe('calls', () => {
  it('say where the time went', () => {
    expect(timing('queue;dur=0.084, provider;dur=12')).toEqual({ queue: 0.084, provider: 12 });
    expect(timing(null)).toEqual({});
  });
  it('are sent as they were typed', () => {
    const trial = { topic: 'calc', method: 'a/b', module: 'm', params: ' [12345678901234567890] ', timeout: '100' };
    expect(twins(trial).curl).toMatch(/\/rpc\/calc\/a%2Fb\?module=m&timeout=100' -H 'Content-Type: application\/json' --data-binary '\[12345678901234567890\]'$/);
    expect(twins({ ...trial, module: '', params: ' ', timeout: '' }).curl).toMatch(/^curl -X POST \S+\/rpc\/calc\/a%2Fb$/);
  });
  it('have errors of those that are over', () => {
    expect(errors(counts)).toBe(3n);
    expect(share(counts)).toBe('30%');
    expect(share({ ...counts, answered: '0', failed: '0', unavailable: '0', providerGone: '0' })).toBe('–');
  });
  it.each([[0.084, '0.08'], [9.994, '9.99'], [12.34, '12.3'], [100, '100'], [1234.5, '1235']])('%s ms is %s', (value, text) => expect(ms(value)).toBe(text));
});

describe('schemas', () => {
  const params = {
    type: 'array',
    prefixItems: [
      { title: 'order', type: 'object', properties: { id: { type: 'integer' }, tags: { type: 'array', items: { type: 'string' } } } },
      { type: ['string', 'null'], description: 'a note' },
      { enum: ['EUR', 'USD'] },
      true,
    ],
  };
  it('say what each parameter is', () => {
    expect(hints(params)).toEqual([
      { name: 'order', type: '{id, tags}', text: '' },
      { name: '[1]', type: 'string | null', text: 'a note' },
      { name: '[2]', type: '"EUR" | "USD"', text: '' },
      { name: '[3]', type: 'any', text: '' },
    ]);
    expect(typeText({ type: 'array', items: { type: 'number' } })).toBe('array of number');
    expect(typeText(params)).toBe('[{id, tags}, string | null, "EUR" | "USD", any]');
    for (const odd of [undefined, null, true, 'x', {}, { items: false }]) expect(hints(odd)).toEqual([]);
  });
  it('make an example to begin with', () => {
    expect(example(params)).toEqual([{ id: 0, tags: [] }, '', 'EUR', null]);
    expect(example({ type: 'number', default: 7 })).toBe(7);
    expect(example({ type: 'boolean' })).toBe(false);
    const endless: Record<string, unknown> = { type: 'object' };
    endless.properties = { again: endless };
    expect(JSON.stringify(example(endless)).length).toBeLessThan(200);
  });
});

describe('an import', () => {
  it('is summed', () => {
    expect(
      sum([
        { action: 'create', target: 'a', differences: [] },
        { action: 'update', target: 'a/g', differences: [] },
        { action: 'delete', target: 'b', differences: [], messages: '9007199254740993' },
        { action: 'delete', target: 'c/g', differences: [] },
      ]),
    ).toEqual({ create: 1, update: 1, delete: 2, topics: 1, groups: 1, messages: 9007199254740993n });
  });
});
