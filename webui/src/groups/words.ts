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
export function drainText(g: Pick<GroupFigures, 'lag' | 'drain' | 'in' | 'out'>): string {
  if (g.lag === '0') return t('caught up');
  const net = netOf(g);
  if (net > 0.5) return t('never drains: grows by {n}/s', { n: rate(net) });
  if (g.drain !== undefined && net < -0.05) return t('≈ {time} to drain', { time: span(g.drain) });
  return g.out > 0 ? t('does not shrink') : t('nothing moves');
}

/** netOf is by how many messages a second a lag grows, from the same figures as its drain time. */
export function netOf(g: Pick<GroupFigures, 'in' | 'out'>): number {
  return g.in - g.out;
}

/** flowText shows what a net is made of. */
export function flowText(g: Pick<GroupFigures, 'in' | 'out' | 'filter'>): string {
  return t('{in}/s in, {out}/s out', { in: (g.filter ? '≈ ' : '') + rate(g.in), out: rate(g.out) });
}

export function trendMark(growth: number): string {
  if (Math.abs(growth) < 0.5) return '';
  return growth > 0 ? `▲ +${rate(growth)}/s` : `▼ −${rate(-growth)}/s`;
}
