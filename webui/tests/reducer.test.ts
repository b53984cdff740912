import { describe, expect, it } from 'vitest';
import type { ServerFrame } from '../src/live/frames';
import { Past } from '../src/live/past';
import { apply, backoff, type Wish } from '../src/live/reducer';

const wish = (ref: string, watch?: string): Wish => ({ ref, op: { channel: 'topics' }, watch, seq: -1 });
const figures = (watch: string, seq: number): ServerFrame => ({ type: 'figures', watch, channel: 'topics', seq, time: '2026-10-09T14:02:11Z', data: { seq } });

describe('frames', () => {
  it('find their watch by the name that the broker gave it', () => {
    const wishes = [wish('1'), wish('2')];
    expect(apply(wishes, { type: 'watching', ref: '2', watch: 'w7', channel: 'topics' })).toEqual({ kind: 'watching', wish: wishes[1] });
    expect(apply(wishes, figures('w7', 0))).toMatchObject({ kind: 'figures', wish: { ref: '2' }, data: { seq: 0 } });
    expect(apply(wishes, figures('w8', 0)).kind).toBe('none');
  });
  it('never replace newer ones', () => {
    const wishes = [wish('1', 'w1')];
    expect(apply(wishes, figures('w1', 5)).kind).toBe('figures');
    expect(apply(wishes, figures('w1', 5)).kind).toBe('none');
    expect(apply(wishes, figures('w1', 4)).kind).toBe('none');
    expect(apply(wishes, figures('w1', 6)).kind).toBe('figures');
  });
  it('begin anew on another connection', () => {
    const wishes = [wish('1', 'w1')];
    apply(wishes, figures('w1', 500));
    apply(wishes, { type: 'watching', ref: '1', watch: 'w1', channel: 'topics' });
    expect(apply(wishes, figures('w1', 1)).kind).toBe('figures');
  });
  it('of a tail go to it', () => {
    const wishes = [wish('1', 'w1')];
    expect(apply(wishes, { type: 'tail', watch: 'w1', messages: [], missed: '3' })).toMatchObject({ kind: 'tail', frame: { missed: '3' } });
    expect(apply(wishes, { type: 'tail', watch: 'w2', messages: [] }).kind).toBe('none');
  });
  it('that refuse are told to whoever asked', () => {
    const wishes = [wish('1', 'w1'), wish('2')];
    expect(apply(wishes, { type: 'problem', ref: '2', code: 'not_found', detail: 'no topic x' })).toMatchObject({ kind: 'refused', wish: { ref: '2' }, detail: 'no topic x' });
    expect(apply(wishes, { type: 'ended', watch: 'w1', code: 'not_found', detail: 'removed' })).toMatchObject({ kind: 'refused', wish: { ref: '1' } });
    expect(apply(wishes, { type: 'problem', code: 'invalid', detail: 'x' }).kind).toBe('none');
  });
  it('of a beat say that all is fresh', () => {
    expect(apply([], { type: 'beat', time: '2026-10-09T14:02:11Z' }).kind).toBe('fresh');
    expect(apply([], { type: 'ok', ref: '1' }).kind).toBe('none');
  });
});

describe('waiting to connect again', () => {
  it('grows, to a bound, and is never the same for all', () => {
    expect(backoff(1, 0.5)).toBe(300);
    expect(backoff(4, 0.5)).toBe(2400);
    expect(backoff(50, 0.5)).toBe(15_000);
    expect(backoff(1, 0)).not.toBe(backoff(1, 1));
  });
});

describe('what figures were lately', () => {
  it('stays what it was while nothing new is sent', () => {
    const past = new Past<bigint>(6, 1000);
    past.add(5n, 1000);
    past.add(7n, 2010);
    past.add(9n, 5000);
    expect(past.values).toEqual([5n, 7n, 7n, 7n, 9n]);
    past.add(1n, 100_000);
    expect(past.values).toEqual([9n, 9n, 9n, 9n, 9n, 1n]);
  });
  it('goes on from what was known, with the present value at its end', () => {
    const past = new Past<number>(4, 5000);
    past.begin([1, 2, 3]);
    past.add(4, 61_000);
    past.add(5, 62_000);
    expect(past.values).toEqual([1, 2, 3, 5]);
    past.add(6, 67_000);
    expect(past.values).toEqual([2, 3, 5, 6]);
    past.begin([]);
    expect(past.values).toEqual([]);
  });
});
