// What the palette finds for a text. Plain data in, plain data out.

export interface Entry {
  kind: 'page' | 'topic' | 'group' | 'offset' | 'id' | 'action';
  label: string;
  hint: string;
  path?: string[];
  query?: Record<string, string>;
  action?: string;
}

export interface Source {
  topics: readonly { name: string; groups: readonly string[] }[];
  pages: readonly Entry[];
  actions: readonly Entry[];
  /** The topic that is open, for message ids and offsets without one. */
  here?: string;
}

const most = 40;

/** rank is how well a text fits: the lower the better, below 0 not at all. */
export function rank(text: string, query: string): number {
  const t = text.toLowerCase();
  const q = query.toLowerCase();
  if (q === '') return 3;
  if (t === q) return 0;
  if (t.startsWith(q)) return 1;
  const i = t.indexOf(q);
  if (i > 0) return /[\W_]/.test(t[i - 1]!) ? 2 : 3;
  // All letters in order, as in "ob" for "orders/billing".
  let at = 0;
  for (const c of q) {
    at = t.indexOf(c, at) + 1;
    if (at === 0) return -1;
  }
  return 5;
}

export function find(source: Source, query: string): Entry[] {
  const q = query.trim();
  const found: { entry: Entry; rank: number }[] = [];
  const add = (entry: Entry, text = entry.label) => {
    const r = rank(text, q);
    if (r >= 0) found.push({ entry, rank: r });
  };
  for (const p of source.pages) add(p);
  for (const a of source.actions) add(a);
  for (const topic of source.topics) {
    add({ kind: 'topic', label: topic.name, hint: '', path: ['topics', topic.name] });
    if (q === '') continue;
    for (const g of topic.groups) add({ kind: 'group', label: `${topic.name} / ${g}`, hint: '', path: ['topics', topic.name, 'groups', g] }, `${topic.name}/${g}`);
  }
  found.sort((a, b) => a.rank - b.rank);
  return [...places(source, q), ...found.slice(0, most).map((f) => f.entry)];
}

// "orders#812344", "#812344" where a topic is open, or anything that may be an id.
function places(source: Source, q: string): Entry[] {
  const m = /^(?:([^#\s]+))?#([\d,]{1,25})$/.exec(q);
  if (m) {
    const topic = m[1] ?? source.here;
    const offset = m[2]!.replaceAll(',', '');
    if (topic) return [{ kind: 'offset', label: `${topic} #${offset}`, hint: '', path: ['topics', topic, 'messages'], query: { from: offset, at: offset } }];
  }
  if (source.here && q.length >= 6 && !/\s/.test(q)) {
    return [{ kind: 'id', label: q, hint: source.here, path: ['topics', source.here, 'messages'], query: { id: q } }];
  }
  return [];
}
