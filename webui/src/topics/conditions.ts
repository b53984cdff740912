// What is wrong with the broker right now, in words and with the page to look at.

import type { Schemas } from '../api/client';
import { t } from '../i18n/text.svelte';
import { link } from '../lib/route';

type Condition = Schemas['Condition'];

/** conditionName is what a condition concerns, as a title. */
export function conditionName(c: Condition): string {
  const kinds: Record<string, string> = {
    disk: t('Disk'),
    clock: t('Clock'),
    damage: t('Damage'),
    backup: t('Backup'),
    'dead-letters': t('Dead letters'),
  };
  const kind = kinds[c.kind] ?? c.kind;
  return c.subject ? `${kind}: ${c.subject}` : kind;
}

/** conditionAction is what helps, and where it is done. */
export function conditionAction(c: Condition): { label: string; href: string } {
  switch (c.kind) {
    case 'disk':
      return { label: t('See which topics are large'), href: link(['topics'], { sort: '-bytes' }) };
    case 'clock':
      return { label: t('Confirm the clock'), href: '#/servers' };
    case 'backup':
      return { label: t('See the backups'), href: '#/servers' };
    case 'damage':
      return { label: t('See what is damaged'), href: conditionLink(c) };
    case 'dead-letters':
      return { label: t('See the group'), href: conditionLink(c) };
  }
  return { label: t('See the server'), href: '#/servers' };
}

/** conditionLink is the page that has more about it. A subject is a topic, or a topic and a group. */
export function conditionLink(c: Condition): string {
  if (!c.subject || !['damage', 'dead-letters'].includes(c.kind)) return '#/servers';
  const [topic, group] = c.subject.split('/') as [string, string?];
  return group ? link(['topics', topic, 'groups', group]) : link(['topics', topic]);
}
