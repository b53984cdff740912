import type { Schemas } from '../api/client';
import { t } from '../i18n/text.svelte';
import type { NameFault } from './names';

export function faultText(fault: NameFault): string {
  switch (fault) {
    case 'empty':
      return t('A name is needed');
    case 'long':
      return t('At most 200 characters');
    case 'letters':
      return t('Only letters, digits and . _ ~ : -');
    case 'dots':
      return t('Not two dots in a row');
    case 'tilde':
      return t('Must not begin with ~');
    case 'taken':
      return t('There is one of this name');
    default:
      return '';
  }
}

/** forCalls says that a topic holds what is under way and no log: its offsets mean nothing. */
export function forCalls(kind: Schemas['TopicKind'] | undefined): boolean {
  return kind === 'rpc' || kind === 'proxy';
}

export function kindText(kind: Schemas['TopicKind']): string {
  return kind === 'log' ? t('log') : kind === 'memory' ? t('memory') : kind;
}
