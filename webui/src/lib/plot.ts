// The arithmetic of a chart over time.

/** ceiling is a round number that values fit under, with its step for n lines. */
export function ceiling(most: number, n = 4): { top: number; step: number } {
  const raw = Math.max(most, 1e-9) / n;
  const scale = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * scale).find((s) => s >= raw * 0.999) ?? 10 * scale;
  return { top: step * Math.max(1, Math.ceil(most / step - 0.001)), step };
}

const steps = [1, 2, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 10_800, 14_400, 21_600, 43_200, 86_400, 172_800, 432_000].map((s) => s * 1000);

/** moments are round times from..to, at most n; offset is the zone's, in milliseconds. */
export function moments(from: number, to: number, n: number, offset = 0): number[] {
  const step = steps.find((s) => (to - from) / s <= n) ?? 864_000_000;
  const found: number[] = [];
  for (let at = Math.ceil((from + offset) / step) * step - offset; at <= to; at += step) found.push(at);
  return found;
}

/** path draws values over a width and height; a gap of more than `gap` breaks the line. */
export function path(
  points: readonly { time: number }[],
  value: (i: number) => number,
  box: { from: number; to: number; top: number; width: number; height: number; gap: number },
): string {
  const per = Math.max(1, Math.ceil(points.length / Math.max(1, box.width)));
  let d = '';
  let last = -Infinity;
  for (let i = 0; i < points.length; i += per) {
    // More points than pixels: each pixel shows the mean of its points.
    let sum = 0;
    const end = Math.min(points.length, i + per);
    for (let j = i; j < end; j++) sum += value(j);
    const time = points[end - 1]!.time;
    if (time < box.from) continue;
    const x = ((time - box.from) / (box.to - box.from)) * box.width;
    const y = box.height - (sum / (end - i) / box.top) * box.height;
    d += `${time - last > box.gap * per ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`;
    last = time;
  }
  return d;
}

/** nearest is the index of the point closest to a time, or -1. */
export function nearest(points: readonly { time: number }[], time: number): number {
  let low = 0;
  let high = points.length - 1;
  if (high < 0) return -1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle]!.time < time) low = middle + 1;
    else high = middle;
  }
  return low > 0 && time - points[low - 1]!.time < points[low]!.time - time ? low - 1 : low;
}
