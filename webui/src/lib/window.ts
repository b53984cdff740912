// Which rows of a long list are in the document. Rows have one height.

export interface Span {
  from: number;
  to: number; // behind the last
  before: number; // pixels above the first
  height: number; // pixels of all rows
}

/** visible says which rows to render: those in view and a few around them. */
export function visible(scrollTop: number, viewport: number, row: number, total: number, around = 8): Span {
  const height = total * row;
  const top = Math.max(0, Math.min(scrollTop, height - viewport));
  const from = Math.max(0, Math.floor(top / row) - around);
  const to = Math.min(total, Math.ceil((top + viewport) / row) + around);
  return { from, to: Math.max(from, to), before: from * row, height };
}

/** scrolled is the scroll position that brings a row into view by moving least. */
export function scrolled(scrollTop: number, viewport: number, row: number, index: number): number {
  const top = index * row;
  if (top < scrollTop) return top;
  return top + row > scrollTop + viewport ? top + row - viewport : scrollTop;
}
