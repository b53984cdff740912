import { call, type Schemas } from '../api/client';
import { t } from '../i18n/text.svelte';
import { count } from '../lib/format';
import { toasts } from '../lib/toasts.svelte';

type Entry = Schemas['JournalEntry'];

/** revertCall undoes a journal entry. */
export function revertCall(entry: string, reason = '') {
  return call('post', '/journal/{entry}:revert', { params: { path: { entry } }, body: reason ? { reason } : {} });
}

/** isFilter tells a change of the filter from a move. */
export function isFilter(e: Entry): boolean {
  return e.filterFrom !== undefined || e.filterTo !== undefined;
}

/** offerUndo says what was journalled, and takes it back when that is wanted. */
export function offerUndo(text: string, topic: string, group: string, entry: Entry, changed: () => void) {
  const all = '(' + t('all') + ')';
  const question = isFilter(entry)
    ? t('Set the filter of {group} in {topic} back, from {to} to {from}?', { group, topic, to: entry.filterTo || all, from: entry.filterFrom || all })
    : t('Move {group} in {topic} back, from #{to} to #{from}?', { group, topic, to: count(entry.to), from: count(entry.from) });
  toasts.offer(text, question, async () => {
    const { data } = await revertCall(entry.id, 'undo').send();
    toasts.say(t('Undone: {name} is at #{offset} again.', { name: data.group.name, offset: count(data.group.cursor) }));
    changed();
  });
}
