// What differs between two texts, line by line.

export interface Line {
  kind: 'same' | 'gone' | 'new';
  text: string;
}

const mostCells = 2_000_000;

/**
 * diffLines turns one list of lines into the other with as few changes as possible.
 * Where both differ over thousands of lines it does not look for what they share.
 */
export function diffLines(a: readonly string[], b: readonly string[]): Line[] {
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const same = (text: string): Line => ({ kind: 'same', text });
  return [
    ...a.slice(0, head).map(same),
    ...middle(a.slice(head, a.length - tail), b.slice(head, b.length - tail)),
    ...a.slice(a.length - tail).map(same),
  ];
}

function middle(a: readonly string[], b: readonly string[]): Line[] {
  const gone = (text: string): Line => ({ kind: 'gone', text });
  const fresh = (text: string): Line => ({ kind: 'new', text });
  if (a.length * b.length > mostCells) return [...a.map(gone), ...b.map(fresh)];
  // common[i][j] is how many lines a from i and b from j have in common.
  const width = b.length + 1;
  const common = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i * width + j] =
        a[i] === b[j] ? common[(i + 1) * width + j + 1]! + 1 : Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!);
    }
  }
  const out: Line[] = [];
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      out.push({ kind: 'same', text: a[i++]! });
      j++;
    } else if (common[(i + 1) * width + j]! >= common[i * width + j + 1]!) out.push(gone(a[i++]!));
    else out.push(fresh(b[j++]!));
  }
  return [...out, ...a.slice(i).map(gone), ...b.slice(j).map(fresh)];
}

/** shortened leaves out what is far from any change, and says how many lines that is. */
export function shortened(lines: readonly Line[], around = 3): (Line | number)[] {
  const near = new Set<number>();
  lines.forEach((l, i) => {
    if (l.kind !== 'same') for (let k = i - around; k <= i + around; k++) near.add(k);
  });
  const out: (Line | number)[] = [];
  lines.forEach((l, i) => {
    const last = out.at(-1);
    if (near.has(i)) out.push(l);
    else if (typeof last === 'number') out[out.length - 1] = last + 1;
    else out.push(1);
  });
  return out;
}
