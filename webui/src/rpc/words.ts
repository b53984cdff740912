// What figures of calls say.

import type { Schemas } from '../api/client';
import { t } from '../i18n/text.svelte';
import { big, count, percent } from '../lib/format';

type Counts = Schemas['CallCounts'];

/** ms is a latency of milliseconds to about three digits. */
export function ms(value: number): string {
  return value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : value.toFixed(0);
}

/** errors are the calls that ended without a good answer. */
export function errors(c: Counts): bigint {
  return big(c.failed) + big(c.unavailable) + big(c.timeout) + big(c.providerGone);
}

/** share is the errors of the calls that are over, or nothing before the first. */
export function share(c: Counts): string {
  const over = big(c.answered) + big(c.unavailable) + big(c.timeout) + big(c.providerGone) + big(c.abandoned);
  return over === 0n ? '–' : percent(errors(c), over);
}

/** outcomes says how calls ended, in numbers. */
export function outcomes(c: Counts): string {
  return [
    [t('answered'), c.answered],
    [t('with a status of 400 or more'), c.failed],
    [t('no provider'), c.unavailable],
    [t('timed out'), c.timeout],
    [t('provider gone'), c.providerGone],
    [t('caller gone'), c.abandoned],
  ]
    .map(([name, value]) => `${name}: ${count(value)}`)
    .join('\n');
}

/** fullName is how a method is named in figures. */
export function fullName(m: { module: string; name: string }): string {
  return m.module ? `${m.module}.${m.name}` : m.name;
}
