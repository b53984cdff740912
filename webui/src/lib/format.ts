// Numbers and times as people read them. Counts are decimal strings or BigInt all
// the way, because a number of JavaScript loses digits beyond 2^53.

export type Count = string | bigint | number;

const grouping = new Intl.NumberFormat('en-US');

/** big reads a count; nonsense is 0, because figures must never break a page. */
export function big(value: Count | undefined): bigint {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number') return BigInt(Math.trunc(value) || 0);
  return value && /^-?\d+$/.test(value) ? BigInt(value) : 0n;
}

/** count gives all digits, in groups of three. */
export function count(value: Count | undefined): string {
  return grouping.format(big(value));
}

/** signed is count with a plus before what is positive. */
export function signed(value: bigint): string {
  return (value > 0n ? '+' : '') + grouping.format(value);
}

/** rate shortens a number a second to about three digits. */
export function rate(value: number | undefined): string {
  const v = value ?? 0;
  if (!Number.isFinite(v) || Math.abs(v) < 0.05) return '0';
  if (Math.abs(v) < 10) return v.toFixed(1);
  if (Math.abs(v) < 999.5) return v.toFixed(0);
  for (const [unit, size] of [['G', 1e9], ['M', 1e6], ['k', 1e3]] as const) {
    if (Math.abs(v) >= size * 0.9995) {
      const n = v / size;
      return n.toFixed(Math.abs(n) < 99.95 ? 1 : 0) + unit;
    }
  }
  return v.toFixed(0);
}

/** bytes gives a size in units of 1,024, as the commands and settings do; below that it is exact. */
export function bytes(value: Count | undefined): string {
  const b = big(value);
  if (b < 1024n) return `${b} B`;
  let n = Number(b);
  for (const unit of ['KiB', 'MiB', 'GiB', 'TiB', 'PiB']) {
    n /= 1024;
    if (n < 1023.5) return `${n < 9.95 ? n.toFixed(1) : n.toFixed(0)} ${unit}`;
  }
  return `${n.toFixed(0)} PiB`;
}

/** span gives a duration with its two largest units. */
export function span(ms: number | undefined): string {
  if (ms === undefined || !Number.isFinite(ms) || ms < 0) return '–';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${pad(s % 60)}s`;
  if (s < 86_400) return `${Math.floor(s / 3600)}h${pad(Math.floor((s % 3600) / 60))}m`;
  return `${Math.floor(s / 86_400)}d${pad(Math.floor((s % 86_400) / 3600))}h`;
}

/** percent of a part; a whole of nothing is 0. */
export function percent(part: bigint, whole: bigint): string {
  if (whole <= 0n) return '0%';
  const tenths = Number((part * 1000n) / whole);
  if (tenths === 0 && part > 0n) return '<0.1%';
  return tenths >= 100 || tenths % 10 === 0 ? `${Math.floor(tenths / 10)}%` : `${(tenths / 10).toFixed(1)}%`;
}

export type Zone = 'utc' | 'local';

function pad(n: number, width = 2): string {
  return String(n).padStart(width, '0');
}

function parts(time: string | number | Date, zone: Zone) {
  const d = new Date(time);
  if (Number.isNaN(d.getTime())) return undefined;
  // A shifted date read as UTC is the local one, without a formatter's cost.
  const s = zone === 'utc' ? d : new Date(d.getTime() - d.getTimezoneOffset() * 60_000);
  return {
    day: `${pad(s.getUTCFullYear(), 4)}-${pad(s.getUTCMonth() + 1)}-${pad(s.getUTCDate())}`,
    clock: `${pad(s.getUTCHours())}:${pad(s.getUTCMinutes())}:${pad(s.getUTCSeconds())}`,
    ms: pad(s.getUTCMilliseconds(), 3),
    offset: zone === 'utc' ? 'Z' : offsetOf(d),
  };
}

function offsetOf(d: Date): string {
  const m = -d.getTimezoneOffset();
  return `${m < 0 ? '-' : '+'}${pad(Math.floor(Math.abs(m) / 60))}:${pad(Math.abs(m) % 60)}`;
}

/** moment is a full date and time with milliseconds. */
export function moment(time: string | number | Date | undefined, zone: Zone): string {
  const p = time === undefined || time === '' ? undefined : parts(time, zone);
  return p ? `${p.day} ${p.clock}.${p.ms}` : '–';
}

/** clock is the time of day with milliseconds. */
export function clock(time: string | number | Date | undefined, zone: Zone): string {
  const p = time === undefined || time === '' ? undefined : parts(time, zone);
  return p ? `${p.clock}.${p.ms}` : '–';
}

/** rfc3339 is a moment that can be pasted anywhere. */
export function rfc3339(time: string | number | Date, zone: Zone): string {
  const p = parts(time, zone);
  return p ? `${p.day}T${p.clock}.${p.ms}${p.offset}` : '';
}

const ago = /^[-−](\d{1,7})\s*([smhd])$/i;
const seconds = { s: 1, m: 60, h: 3600, d: 86_400 };

/** isAgo tells whether a text says how long ago, such as -30m. */
export function isAgo(text: string): boolean {
  return ago.test(text.trim());
}

/**
 * readTime understands what people type: RFC 3339, a date with or without a time in
 * the zone that is shown, a time of today, how long ago (-30m), or milliseconds since
 * 1970. Undefined when it is none of these.
 */
export function readTime(text: string, zone: Zone, now = Date.now()): string | undefined {
  const s = text.trim();
  const back = ago.exec(s);
  if (back) return new Date(now - Number(back[1]) * seconds[back[2]!.toLowerCase() as keyof typeof seconds] * 1000).toISOString();
  if (/^\d{11,14}$/.test(s)) return new Date(Number(s)).toISOString();
  let full = s.replace(' ', 'T');
  if (/^\d{1,2}:\d{2}(:\d{2}(\.\d{1,9})?)?$/.test(s)) {
    full = `${parts(now, zone)?.day}T${s.length < 5 || s[1] === ':' ? '0' + s : s}`;
  }
  const m = /^(\d{4}-\d{2}-\d{2})(?:T(\d{2}:\d{2})(:\d{2}(?:\.\d{1,9})?)?)?(Z|[+-]\d{2}:\d{2})?$/i.exec(full);
  if (!m) return undefined;
  const iso = `${m[1]}T${m[2] ?? '00:00'}${m[3] ?? ':00'}`;
  const d = new Date(iso + (m[4] ?? (zone === 'utc' ? 'Z' : '')));
  return Number.isNaN(d.getTime()) ? undefined : d.toISOString();
}

/** ends divides a name before its last letters, which tell it from others as its first ones do. */
export function ends(name: string): [string, string] {
  const letters = [...name];
  return [letters.slice(0, -8).join(''), letters.slice(-8).join('')];
}

/** middle shortens a long name in its middle: both ends tell names apart. */
export function middle(name: string, most = 48): string {
  const letters = [...name];
  if (letters.length <= most) return name;
  const head = Math.ceil((most - 1) * 0.6);
  return letters.slice(0, head).join('') + '…' + letters.slice(head - (most - 1)).join('');
}
