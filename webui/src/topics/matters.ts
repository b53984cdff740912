// What needs attention, in words, with where it is and what helps.

import type { Schemas } from '../api/client';
import { n, t } from '../i18n/text.svelte';
import { bytes, count, rate, span } from '../lib/format';
import { link } from '../lib/route';
import { conditionAction, conditionLink, conditionName } from './conditions';

export type Matter = Schemas['Matter'];

/** matterName is what a matter concerns. */
export function matterName(m: Matter): string {
  if (m.condition) return conditionName(m.condition);
  if (m.topic) return m.group ? `${m.topic} / ${m.group}` : m.topic;
  return t('This server');
}

/** matterKey tells matters apart. */
export function matterKey(m: Matter): string {
  return [m.kind, m.topic, m.group, m.condition?.kind, m.condition?.subject].join(' ');
}

/** matterLink is the page that has more about it. */
export function matterLink(m: Matter): string {
  if (m.condition) return conditionLink(m.condition);
  if (m.kind === 'unprovided') return link(['rpc', m.topic!]);
  return m.topic ? link(['topics', m.topic, 'groups', m.group!]) : '#/servers';
}

/** matterText is what is the matter. now is by this computer's clock. */
export function matterText(m: Matter, now: number): string {
  const lag = (m.lagExact === false ? '≈ ' : '') + count(m.lag);
  const age = span((m.seconds ?? 0) * 1000);
  switch (m.kind) {
    case 'condition':
      return t('{text} (for {age})', { text: m.condition!.text, age: span(Math.max(0, now - Date.parse(m.condition!.since))) });
    case 'unconsumed':
      return (m.growth ?? 0) >= 0.1
        ? t('nobody consumes; {n} waiting, the oldest for {age}, {growth}/s more', { n: lag, age, growth: rate(m.growth) })
        : t('nobody consumes; {n} waiting, the oldest for {age}', { n: lag, age });
    case 'growing':
      return t('lag {n}, {age}, grows by {growth}/s', { n: lag, age, growth: rate(m.growth) });
    case 'behind':
      return t('{age} behind, lag {n}', { n: lag, age });
    case 'paused':
      return t('paused; {n} waiting', { n: lag });
    case 'dead-letters':
      return t('{n} given up in the last 15 minutes', { n: n(Number(m.count), '{n} message', '{n} messages') });
    case 'redelivered':
      return t('{n} deliveries in the last 15 minutes were not the first of their message', { n: count(m.count) });
    case 'unmatched':
      return t('the filter lets none of the last {n} messages through', { n: count(m.count) });
    case 'unprovided':
      return (m.rate ?? 0) > 0 || m.count !== '0' ? t('nobody answers; {rate} calls a second fail or wait', { rate: rate(Math.max(m.rate ?? 0, Number(m.count))) }) : t('nobody answers; there are no calls');
    case 'backup-late':
      return t('the last backup is {age} old, later than its schedule', { age });
    case 'backlog':
      return t('{size} wait for the disk', { size: bytes(m.count) });
  }
}

export interface Action {
  label: string;
  href: string;
}

/** matterAction is what helps, and where it is done. */
export function matterAction(m: Matter): Action {
  const group = m.topic && m.group ? ['topics', m.topic, 'groups', m.group] : [];
  switch (m.kind) {
    case 'condition':
      return conditionAction(m.condition!);
    case 'unconsumed':
      return { label: t('Start a consumer, move it to the end or delete it'), href: link(group, { to: 'latest' }) };
    case 'growing':
    case 'behind':
      return { label: t('See what it has ahead; add consumers'), href: link(group) };
    case 'paused':
      return { label: t('Resume it'), href: link(group) };
    case 'dead-letters':
      return { label: t('Read the dead letters'), href: link(['topics', `${m.topic}.dead`, 'dead'], { group: m.group }) };
    case 'redelivered':
      return { label: t('See what comes back'), href: link(['topics', m.topic!, 'messages'], { group: m.group }) };
    case 'unmatched':
      return { label: t('Try another filter'), href: link([...group, 'filter']) };
    case 'unprovided':
      return { label: t('See who provided it'), href: link(['rpc', m.topic!]) };
    case 'backup-late':
      return { label: t('See the backups'), href: '#/servers' };
    case 'backlog':
      return { label: t('See the disk'), href: '#/servers' };
  }
}
