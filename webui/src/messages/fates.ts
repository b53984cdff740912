import type { Schemas } from '../api/client';
import { t } from '../i18n/text.svelte';

export type Fate = Schemas['Fate'];

/** fateMark is one character for a column; it never stands without its words. */
export const fateMark: Record<Fate['fate'], string> = {
  settled: '✓',
  inFlight: '◐',
  returned: '↺',
  pending: '○',
  filtered: '∅',
  beforeCursor: '–',
};

export function fateText(f: Fate): string {
  switch (f.fate) {
    case 'settled':
      return t('settled');
    case 'inFlight':
      return t('in flight, delivery {n}', { n: f.deliveries ?? 1 });
    case 'returned':
      return t('came back after delivery {n}', { n: f.deliveries ?? 1 });
    case 'pending':
      return t('pending');
    case 'filtered':
      if (!f.pattern) return t('filtered out');
      return f.part ? t('filtered out by {pattern} at part {part}', { pattern: f.pattern, part: f.part }) : t('shut out by {pattern}', { pattern: f.pattern });
    default:
      return t('skipped: before the position where the group began or to which it was moved');
  }
}
