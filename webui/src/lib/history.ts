// The arithmetic of figures over time: what the broker kept, and what came since.

import type { Schemas } from '../api/client';

export const keys = ['in', 'out', 'redelivered', 'failed', 'lag', 'age', 'latency', 'slowest'] as const;
export type Key = (typeof keys)[number];
export type Mark = Schemas['HistoryMark'] & { at: number };

/** Past has a value an interval and key; NaN is one that nobody knows. */
export interface Past {
  step: number; // milliseconds
  start: number; // of the first interval, in milliseconds since 1970
  span: number;
  read: number; // how many intervals the broker told; the others came since
  second: number; // of the last figures that came, and how many of the last interval did
  came: number;
  lists: Record<Key, number[]>;
  marks: Mark[];
}

// Of several intervals the largest counts, where that is what one looks for.
const peaks: readonly Key[] = ['failed', 'lag', 'age', 'slowest'];

export function readPast(h: Schemas['History']): Past {
  const lists = {} as Record<Key, number[]>;
  for (const key of keys) {
    const list = (lists[key] = h[key] ? [...h[key]] : new Array<number>(h.count).fill(0));
    for (const { from, to } of h.gaps) list.fill(NaN, from, to);
    // Nothing took any time: there was nothing.
    if (key === 'latency' || key === 'slowest') for (let i = 0; i < list.length; i++) if (list[i] === 0) list[i] = NaN;
  }
  const span = h.step * h.count;
  return { step: h.step, start: Date.parse(h.end) - span, span, read: h.count, second: 0, came: 0, lists, marks: h.marks.map((m) => ({ ...m, at: Date.parse(m.time) })) };
}

/** goOn puts the figures of a second behind the past ones. What was missed, if anything was, stays unknown. */
export function goOn(past: Past, time: number, now: Partial<Record<Key, number>>, missed: boolean): Past {
  const second = Math.floor(time / 1000);
  const i = Math.floor((time - past.start) / past.step);
  const n = past.lists.in.length;
  if (second <= past.second || i < past.read || i < n - 1 || i > n + (2 * past.span) / past.step) return past;
  const came = i < n ? past.came : 0;
  for (const key of keys) {
    const list = past.lists[key];
    const value = now[key] ?? NaN;
    // Figures that stay the same are not sent again: they were the same in between.
    while (list.length < i) list.push(missed ? NaN : value);
    const old = list[i] ?? NaN;
    list[i] = Number.isNaN(old) ? value : Number.isNaN(value) ? old : key === 'failed' ? old + value : peaks.includes(key) ? Math.max(old, value) : old + (value - old) / (came + 1);
  }
  // What has left the range on the left side is no longer needed.
  const gone = Math.max(0, i + 1 - Math.ceil((2 * past.span) / past.step));
  for (const key of keys) past.lists[key].splice(0, gone);
  return { ...past, start: past.start + gone * past.step, read: Math.max(0, past.read - gone), second, came: came + 1 };
}

export const endOf = (past: Past) => past.start + past.lists.in.length * past.step;

/** firstKnown is when the first interval began of which anything is known. */
export const firstKnown = (past: Past) => past.start + Math.max(0, past.lists.in.findIndex((v) => !Number.isNaN(v))) * past.step;

/** valueAt is a value at a time, or NaN. */
export const valueAt = (past: Past, key: Key, time: number) => past.lists[key][Math.floor((time - past.start) / past.step)] ?? NaN;

/** bins are the values of a window, not more of them than there are pixels. */
export function bins(past: Past, key: Key, from: number, to: number, width: number): { time: number; value: number }[] {
  const list = past.lists[key];
  const per = Math.max(1, Math.ceil((to - from) / past.step / Math.max(1, width)));
  const found: { time: number; value: number }[] = [];
  const last = Math.min(list.length, Math.ceil((to - past.start) / past.step));
  for (let i = Math.max(0, Math.floor((from - past.start) / past.step / per) * per); i < last; i += per) {
    const known = list.slice(i, Math.min(i + per, list.length)).filter((v) => !Number.isNaN(v));
    const value = peaks.includes(key) ? Math.max(...known) : known.reduce((a, b) => a + b, 0) / known.length;
    found.push({ time: past.start + (i + per / 2) * past.step, value: known.length ? value : NaN });
  }
  return found;
}

/** trace is the line through values; it breaks where one is unknown, and one alone is a dot. */
export function trace(points: readonly { time: number; value: number }[], x: (time: number) => number, y: (value: number) => number): string {
  let d = '';
  let on = false;
  points.forEach((p, i) => {
    if (Number.isNaN(p.value)) return void (on = false);
    d += `${on ? 'L' : 'M'}${x(p.time).toFixed(1)} ${y(p.value).toFixed(1)}`;
    if (!on && Number.isNaN(points[i + 1]?.value ?? NaN)) d += 'h.1';
    on = true;
  });
  return d;
}

/** gapsIn are the times of a window of which nothing is known. */
export function gapsIn(past: Past, from: number, to: number): { from: number; to: number }[] {
  const gaps: { from: number; to: number }[] = [];
  past.lists.in.forEach((v, i) => {
    const begin = past.start + i * past.step;
    const end = begin + past.step;
    if (!Number.isNaN(v) || end <= from || begin >= to) return;
    const last = gaps.at(-1);
    if (last?.to === begin) last.to = Math.min(end, to);
    else gaps.push({ from: Math.max(begin, from), to: Math.min(end, to) });
  });
  return gaps;
}
