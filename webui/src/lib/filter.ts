// Filters of groups, as the broker reads them: see internal/broker/filter.go, whose
// rules these are. The broker is the judge; this one marks while somebody types and
// counts what passes live. One file of vectors tests both.

export interface Filter {
  text: string;
  include: string[][];
  exclude: string[][];
}

const maxBytes = 1024;

export type FilterError = 'too-long' | 'nothing-follows';

/** parseFilter compiles a filter; a string is what is wrong with it. */
export function parseFilter(text: string): Filter | FilterError {
  if (new TextEncoder().encode(text).length > maxBytes) return 'too-long';
  const filter: Filter = { text, include: [], exclude: [] };
  for (const raw of text.split(';')) {
    let pattern = raw.trim();
    const negated = pattern.startsWith('!');
    if (negated) pattern = pattern.slice(1);
    if (pattern === '') {
      if (negated) return 'nothing-follows';
      continue;
    }
    (negated ? filter.exclude : filter.include).push(pattern.split('.'));
  }
  return filter;
}

/** matches reports whether a message with this tag ('' or undefined: none) passes. */
export function matches(filter: Filter, tag: string | undefined): boolean {
  const parts = tag ? tag.split('.') : [];
  if (filter.exclude.some((p) => fits(p, parts))) return false;
  return filter.include.length === 0 || filter.include.some((p) => fits(p, parts));
}

// fits compares part by part. Only the last # is ever tried again, with one part
// more: what an earlier one could take, this one can take as well.
function fits(pattern: string[], tag: string[]): boolean {
  let p = 0;
  let t = 0;
  let again = -1;
  let taken = 0;
  for (;;) {
    const want = pattern[p];
    if (p === pattern.length ? t === tag.length : p === pattern.length - 1 && want === '*' && t < tag.length) return true;
    if (want === '#') {
      again = ++p;
      taken = t;
      continue;
    }
    if (want !== undefined && t < tag.length && (want === '+' || want === '*' || want === tag[t])) {
      p++;
      t++;
      continue;
    }
    if (again < 0 || taken >= tag.length) return false;
    p = again;
    t = ++taken;
  }
}

export type PartKind = 'literal' | 'one' | 'rest' | 'any' | 'empty';
export interface PatternPart {
  text: string;
  kind: PartKind;
}
export interface Pattern {
  text: string;
  negated: boolean;
  parts: PatternPart[];
}

/** explain takes a filter apart for the marks under the editor. */
export function explain(text: string): Pattern[] {
  const patterns: Pattern[] = [];
  for (const raw of text.split(';')) {
    const pattern = raw.trim();
    if (pattern === '' || pattern === '!') continue;
    const negated = pattern.startsWith('!');
    const parts = pattern.slice(negated ? 1 : 0).split('.');
    patterns.push({
      text: pattern,
      negated,
      parts: parts.map((part, i) => ({ text: part, kind: kindOf(part, i === parts.length - 1) })),
    });
  }
  return patterns;
}

function kindOf(part: string, last: boolean): PartKind {
  if (part === '#') return 'any';
  if (part === '*') return last ? 'rest' : 'one';
  if (part === '+') return 'one';
  return part === '' ? 'empty' : 'literal';
}

/** addPattern adds a tag, or everything below it, to a filter. */
export function addPattern(text: string, pattern: string): string {
  const have = text.split(';').map((p) => p.trim()).filter((p) => p !== '');
  return have.includes(pattern) ? text : [...have, pattern].join(';');
}

export interface TagNode {
  part: string;
  tag: string;
  count: bigint;
  children: TagNode[];
}

/** tagTree sums tags by their parts, the most frequent first. */
export function tagTree(tags: readonly { tag: string; count: string }[]): TagNode[] {
  const root: TagNode = { part: '', tag: '', count: 0n, children: [] };
  for (const { tag, count } of tags) {
    if (tag === '') continue;
    let node = root;
    for (const part of tag.split('.')) {
      let next = node.children.find((c) => c.part === part);
      if (!next) {
        next = { part, tag: node === root ? part : `${node.tag}.${part}`, count: 0n, children: [] };
        node.children.push(next);
      }
      next.count += BigInt(count);
      node = next;
    }
  }
  const sort = (nodes: TagNode[]) => {
    nodes.sort((a, b) => (a.count === b.count ? a.part.localeCompare(b.part) : a.count < b.count ? 1 : -1));
    for (const n of nodes) sort(n.children);
  };
  sort(root.children);
  return root.children;
}
