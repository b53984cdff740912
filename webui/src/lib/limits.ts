// Limits of accounts and roles as people write them: messages=1000 bytes=4MiB connections=20 calls=50.

export type Limits = { connections?: number; messages?: number; bytes?: number; calls?: number; stored?: number; topics?: number };
export type Usage = { connections: number; calls: number; stored: number; topics: number };

const names = ['messages', 'bytes', 'connections', 'calls', 'stored', 'topics'] as const;
const sizes: readonly string[] = ['bytes', 'stored'];
const units = ['', 'KiB', 'MiB', 'GiB', 'TiB'];

/** parseLimits reads them; undefined: they make no sense. */
export function parseLimits(text: string): Limits | undefined {
  const limits: Limits = {};
  for (const word of text.split(/[\s,]+/)) {
    if (!word) continue;
    const [, name, digits, unit = ''] = /^(\w+)=(\d{1,15})([KMGT]iB)?$/.exec(word) ?? [];
    const at = names.find((x) => x === name);
    const value = Number(digits) * 1024 ** units.indexOf(unit);
    if (!at || (unit && !sizes.includes(at)) || at in limits || !Number.isSafeInteger(value)) return undefined;
    limits[at] = value;
  }
  return limits;
}

/** limitsText writes them, as they are read. */
export function limitsText(limits: Limits = {}): string {
  return names.filter((x) => limits[x]).map((x) => {
    let [value, unit] = [limits[x]!, 0];
    while (sizes.includes(x) && value % 1024 === 0 && unit + 1 < units.length) [value, unit] = [value / 1024, unit + 1];
    return `${x}=${value}${units[unit]}`;
  }).join(' ');
}

/** usageText says what an account has, beside what is limited of that. */
export function usageText(usage: Usage, limits: Limits = {}): string {
  return (['connections', 'calls', 'stored', 'topics'] as const).map((x) => {
    const has = limitsText({ [x]: usage[x] }) || `${x}=0`;
    return limits[x] ? `${has} / ${limitsText({ [x]: limits[x] }).slice(x.length + 1)}` : has;
  }).join('  ');
}
