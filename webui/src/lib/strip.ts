// The arithmetic of the log strip: offsets are BigInt, places on the strip are
// fractions from 0 (left) to 1 (right).

export interface Bucket {
  from: bigint;
  to: bigint;
  count: bigint;
  matched: bigint;
  exact: boolean;
  time: number | undefined; // milliseconds since 1970
}

export interface RawBucket {
  from: string;
  to: string;
  count: string;
  matched?: string;
  exact?: boolean;
  time?: string;
}

export function readBuckets(raw: readonly RawBucket[]): Bucket[] {
  return raw.map((b) => ({
    from: BigInt(b.from),
    to: BigInt(b.to),
    count: BigInt(b.count),
    matched: BigInt(b.matched ?? b.count),
    exact: b.exact !== false,
    time: b.time === undefined ? undefined : Date.parse(b.time),
  }));
}

const fine = 1_000_000_000n;

/** ratio of two differences of offsets, with nine digits. */
export function ratio(part: bigint, whole: bigint): number {
  if (whole <= 0n) return 0;
  return Number((part * fine) / whole) / Number(fine);
}

/** share takes a fraction of a span of offsets, rounded down. */
export function share(fraction: number, whole: bigint): bigint {
  return (BigInt(Math.round(Math.min(1, Math.max(0, fraction)) * Number(fine))) * whole) / fine;
}

export function clamp(value: bigint, low: bigint, high: bigint): bigint {
  return value < low ? low : value > high ? high : value;
}

/**
 * placeOf says where an offset is. Each bucket has the same width, whatever the axis,
 * so the place is that of its bucket and the part of the bucket before it. What is
 * left of the strip is negative, what is right of it above 1. Until there are buckets, all
 * messages of the view have the same width.
 */
export function placeOf(buckets: readonly Bucket[], offset: bigint, view: View): number {
  if (buckets.length === 0) return offset < view.from ? -0.01 : offset > view.to ? 1.01 : ratio(offset - view.from, view.to - view.from);
  if (offset < buckets[0]!.from) return -0.01;
  const last = buckets[buckets.length - 1]!;
  if (offset >= last.to) return offset === last.to ? 1 : 1.01;
  let low = 0;
  let high = buckets.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (buckets[middle]!.to > offset) high = middle;
    else low = middle + 1;
  }
  const b = buckets[low]!;
  return (low + ratio(offset > b.from ? offset - b.from : 0n, b.to - b.from)) / buckets.length;
}

/** offsetAt is the offset at a fraction of the strip. */
export function offsetAt(buckets: readonly Bucket[], fraction: number): bigint {
  if (buckets.length === 0) return 0n;
  if (fraction <= 0) return buckets[0]!.from;
  if (fraction >= 1) return buckets[buckets.length - 1]!.to;
  const place = fraction * buckets.length;
  const b = buckets[Math.min(buckets.length - 1, Math.floor(place))]!;
  return b.from + share(place - Math.floor(place), b.to - b.from);
}

/** timeAt estimates the time at an offset from the buckets' own times. */
export function timeAt(buckets: readonly Bucket[], offset: bigint): number | undefined {
  for (let i = 0; i < buckets.length; i++) {
    const b = buckets[i]!;
    if (offset < b.from || offset >= b.to) continue;
    const next = buckets.slice(i + 1).find((n) => n.time !== undefined)?.time;
    if (b.time === undefined || next === undefined) return b.time;
    return b.time + ratio(offset - b.from, b.to - b.from) * (next - b.time);
  }
  return undefined;
}

/** The part of the log that the strip shows: [from, to). */
export interface View {
  from: bigint;
  to: bigint;
}

const closest = 20n; // messages; nearer than that there is nothing to see

/** zoom scales a view around an offset and stays within the log. */
export function zoom(view: View, whole: View, around: bigint, factor: number): View {
  const span = view.to - view.from;
  let wanted = share(Math.min(1, factor / 8), span) * 8n;
  if (wanted < closest) wanted = closest;
  if (wanted >= whole.to - whole.from) return { ...whole };
  const middle = clamp(around, view.from, view.to);
  const from = middle - share(ratio(middle - view.from, span), wanted);
  return within({ from, to: from + wanted }, whole);
}

/** pan moves a view by a part of its own width. */
export function pan(view: View, whole: View, part: number): View {
  const by = share(Math.abs(part), view.to - view.from);
  const step = part < 0 ? -by : by;
  return within({ from: view.from + step, to: view.to + step }, whole);
}

function within(view: View, whole: View): View {
  const span = view.to - view.from;
  if (span >= whole.to - whole.from) return { ...whole };
  const from = clamp(view.from, whole.from, whole.to - span);
  return { from, to: from + span };
}

/**
 * step is the place that a key goes to from an offset, or undefined when the key is
 * none of the strip's. [ and ] are not here: they have to ask the broker.
 */
export function step(key: string, shift: boolean, at: bigint, view: View, whole: View): bigint | undefined {
  const span = whole.to - whole.from;
  const hundredth = (v: bigint) => (v / 100n > 0n ? v / 100n : 1n);
  const tenth = (view.to - view.from) / 10n > 0n ? (view.to - view.from) / 10n : 1n;
  const by: Record<string, bigint> = {
    ArrowLeft: shift ? -hundredth(span) : -1n,
    ArrowDown: shift ? -hundredth(span) : -1n,
    ArrowRight: shift ? hundredth(span) : 1n,
    ArrowUp: shift ? hundredth(span) : 1n,
    PageDown: -tenth,
    PageUp: tenth,
  };
  if (key === 'Home') return whole.from;
  if (key === 'End') return whole.to;
  const d = by[key];
  return d === undefined ? undefined : clamp(at + d, whole.from, whole.to);
}

/** ticks are round offsets for the axis, at most n of them. */
export function ticks(view: View, n: number): bigint[] {
  const span = view.to - view.from;
  if (span <= 0n || n < 1) return [];
  let size = 1n;
  for (const factor of [2n, 5n, 10n]) if (span / size > BigInt(n)) size = factor;
  let scale = 1n;
  while (span / (size * scale) > BigInt(n)) {
    scale *= 10n;
    for (const factor of [1n, 2n, 5n]) {
      size = factor;
      if (span / (size * scale) <= BigInt(n)) break;
    }
  }
  const by = size * scale;
  const found: bigint[] = [];
  for (let at = ((view.from + by - 1n) / by) * by; at < view.to; at += by) found.push(at);
  return found;
}
