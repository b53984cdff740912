import { t } from '../i18n/text.svelte';
import { count, rate, span } from '../lib/format';
import type { GroupFigures } from '../live/frames';

/** lagText is a lag that does not look exact when it is not. */
export function lagText(g: Pick<GroupFigures, 'lag' | 'lagExact'>): string {
  return (g.lagExact ? '' : '≈ ') + count(g.lag);
}

/** consumersText counts who is connected; those that pull are not, between their requests. */
export function consumersText(connected: number, rate: number): string {
  return connected === 0 && rate > 0 ? t('by pulls') : String(connected);
}

/** drainText says when a lag is gone, or that it will not be. */
export function drainText(g: Pick<GroupFigures, 'lag' | 'drain' | 'rate'>, growth: number): string {
  if (g.lag === '0') return t('caught up');
  if (g.drain !== undefined) return t('≈ {time} to drain', { time: span(g.drain) });
  if (growth > 0.5) return t('never drains: grows by {n}/s', { n: rate(growth) });
  return g.rate > 0 ? t('does not shrink') : t('nothing moves');
}

export function trendMark(growth: number): string {
  if (Math.abs(growth) < 0.5) return '';
  return growth > 0 ? `▲ +${rate(growth)}/s` : `▼ −${rate(-growth)}/s`;
}
