import { call } from '../api/client';
import { t } from '../i18n/text.svelte';
import { count } from '../lib/format';
import { toasts } from '../lib/toasts.svelte';

/** revertCall undoes a journal entry. */
export function revertCall(entry: string, reason = '') {
  return call('post', '/journal/{entry}:revert', { params: { path: { entry } }, body: reason ? { reason } : {} });
}

/** offerUndo says what was journalled and takes it back when somebody asks for that. */
export function offerUndo(text: string, entry: string, changed: () => void) {
  toasts.offer(text, async () => {
    const { data } = await revertCall(entry, 'undo').send();
    toasts.say(t('Undone: {name} is at #{offset} again.', { name: data.group.name, offset: count(data.group.cursor) }));
    changed();
  });
}
