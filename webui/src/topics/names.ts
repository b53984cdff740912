// What a topic or group may be called, said while somebody types. The broker is the
// judge.

export type NameFault = '' | 'empty' | 'long' | 'letters' | 'dots' | 'tilde' | 'taken';

export function nameFault(name: string, taken: readonly string[] = []): NameFault {
  if (name === '') return 'empty';
  if (name.length > 200) return 'long';
  if (!/^[\p{L}\p{N}._~:-]+$/u.test(name)) return 'letters';
  if (name.includes('..')) return 'dots';
  if (name.startsWith('~')) return 'tilde';
  const small = name.toLowerCase();
  return taken.some((t) => t.toLowerCase() === small) ? 'taken' : '';
}

const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** readAge is milliseconds of "7d", "12h", "90 min" or "1500 ms"; empty is 0. */
export function readAge(text: string): number | undefined {
  const s = text.trim().toLowerCase();
  if (s === '' || s === '0') return 0;
  const m = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/.exec(s);
  const unit = m?.[2] === undefined ? undefined : units[m[2]];
  if (!m || unit === undefined) return undefined;
  const ms = Math.round(Number(m[1]) * unit);
  return Number.isSafeInteger(ms) ? ms : undefined;
}

/** writeAge is the shortest text that readAge gives the same of. */
export function writeAge(ms: number | undefined): string {
  if (!ms) return '';
  for (const [unit, size] of [['d', 86_400_000], ['h', 3_600_000], ['min', 60_000], ['s', 1000]] as const) {
    if (ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}

const sizes: Record<string, bigint> = { '': 1n, b: 1n, k: 1000n, kb: 1000n, m: 1000_000n, mb: 1000_000n, g: 1000_000_000n, gb: 1000_000_000n, tb: 1000_000_000_000n, kib: 1024n, mib: 1048576n, gib: 1073741824n };

/** readSize is bytes or messages of "10 GB", "512 MiB" or "1,000,000"; empty is 0. */
export function readSize(text: string): bigint | undefined {
  const s = text.trim().toLowerCase().replaceAll(',', '').replaceAll('_', '');
  if (s === '') return 0n;
  const m = /^(\d+)(?:\.(\d{1,6}))?\s*([a-z]*)$/.exec(s);
  const size = m ? sizes[m[3] ?? ''] : undefined;
  if (!m || size === undefined) return undefined;
  const part = m[2] ? (BigInt(m[2]) * size) / 10n ** BigInt(m[2].length) : 0n;
  return BigInt(m[1]!) * size + part;
}
