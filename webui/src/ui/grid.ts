export interface Column {
  key: string;
  label: string;
  /** A track of a CSS grid: 90px, minmax(120px, 1fr). */
  width: string;
  right?: boolean;
  center?: boolean;
  /** Shown only when the grid has at least so many pixels. */
  from?: number;
  /** Shown only when the grid has fewer pixels. */
  below?: number;
  /** Whether its header sorts. */
  sort?: boolean;
  title?: string;
}

/** inField says that what is pressed is for a field that has text or a choice. */
export function inField(e: KeyboardEvent): boolean {
  const el = e.target as HTMLElement | null;
  return !!el && 'closest' in el && el.closest('input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]') !== null;
}

/** typing says that a key belongs to a field, or to the browser, and not to the page. */
export function typing(e: KeyboardEvent): boolean {
  return e.ctrlKey || e.metaKey || e.altKey || inField(e);
}

/** dialogOpen says that the page below gets no keys. */
export function dialogOpen(): boolean {
  return document.querySelector('dialog[open]') !== null;
}
