// The points of the charts: what the broker remembers, and what came since.

import { call, type Schemas } from '../api/client';
import type { ServerFigures } from './frames';
import { live } from './live.svelte';

export type Range = '15m' | '24h';
export interface Point {
  time: number; // milliseconds since 1970
  in: number;
  out: number;
  calls: number;
  lag: bigint;
}

const spans: Record<Range, number> = { '15m': 15 * 60_000, '24h': 24 * 3600_000 };

class Stats {
  points = $state.raw<Point[]>([]);
  /** The last minute, whatever the chart shows. */
  recent = $state.raw<Point[]>([]);
  range = $state<Range>('15m');
  problem = $state('');
  loading = $state(false);
  #step = 1000;

  async load(range: Range) {
    this.range = range;
    this.loading = true;
    try {
      const { data } = await call('get', '/stats', { params: { query: { range } } }).send();
      if (this.range !== range) return;
      this.#step = data.step;
      this.points = data.points.map(read);
      if (range === '15m') this.recent = this.points.slice(-60);
      this.problem = '';
    } catch (err) {
      this.problem = live.failed(err, () => this.load(range));
    } finally {
      this.loading = false;
    }
  }

  /** add appends what the socket said, not closer than the points of the range. */
  add(f: ServerFigures, time: number) {
    const p = f.point
      ? read(f.point)
      : { time, in: f.rates.in, out: f.rates.out, calls: f.calls, lag: BigInt(f.lag) };
    this.recent = append(this.recent, p, 1000, 60_000);
    this.points = append(this.points, p, this.#step, spans[this.range]);
  }
}

function append(points: Point[], p: Point, step: number, kept: number): Point[] {
  const last = points.at(-1);
  if (last && p.time - last.time < step * 0.9) return points;
  // Figures that stay the same are not sent again: until now they were the last ones.
  const same = last && p.time - last.time > 2 * step ? [{ ...last, time: p.time - step }] : [];
  return [...points.filter((q) => q.time >= p.time - kept), ...same, p];
}

function read(p: Schemas['StatsPoint']): Point {
  return { time: Date.parse(p.time), in: p.in, out: p.out, calls: p.calls, lag: BigInt(p.lag) };
}

export const stats = new Stats();
