export interface Column {
  key: string;
  label: string;
  /** A track of a CSS grid: 90px, minmax(120px, 1fr). */
  width: string;
  right?: boolean;
  /** Shown only when the grid has at least so many pixels. */
  from?: number;
  /** Whether its header sorts. */
  sort?: boolean;
  title?: string;
}

/** typing says that a key belongs to a field and not to the page. */
export function typing(e: KeyboardEvent): boolean {
  const el = e.target as HTMLElement | null;
  if (e.ctrlKey || e.metaKey || e.altKey) return true;
  if (!el || !('closest' in el)) return false;
  return el.closest('input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]') !== null;
}

/** dialogOpen says that the page below gets no keys. */
export function dialogOpen(): boolean {
  return document.querySelector('dialog[open]') !== null;
}
