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
  // A name of several parts fits by its own last part as well: billing is orders/billing.
  const add = (entry: Entry, ...names: string[]) => {
    const ranks = [entry.label, ...names].map((name) => rank(name, q)).filter((r) => r >= 0);
    if (ranks.length) found.push({ entry, rank: Math.min(...ranks) });
  };
  for (const p of source.pages) add(p);
  for (const a of source.actions) add(a);
  for (const topic of source.topics) {
    add({ kind: 'topic', label: topic.name, hint: '', path: ['topics', topic.name] });
    if (q === '') continue;
    for (const g of topic.groups) add({ kind: 'group', label: `${topic.name} / ${g}`, hint: '', path: ['topics', topic.name, 'groups', g] }, `${topic.name}/${g}`, g);
  }
  found.sort((a, b) => a.rank - b.rank);
  const named = found.slice(0, most).map((f) => f.entry);
  const id = ids(source, q);
  return [...places(source, q), ...(looksLikeID(q) ? [...id, ...named] : [...named, ...id])];
}

// "orders#812344", or "#812344" where a topic is open.
function places(source: Source, q: string): Entry[] {
  const m = /^(?:([^#\s]+))?#([\d,]{1,25})$/.exec(q);
  if (m) {
    const topic = m[1] ?? source.here;
    const offset = m[2]!.replaceAll(',', '');
    if (topic) return [{ kind: 'offset', label: `${topic} #${offset}`, hint: '', path: ['topics', topic, 'messages'], query: { from: offset, at: offset } }];
  }
  return [];
}

// Any word may be the id of a message, in the topic that is open or in any; what does not
// look like one is offered last.
function ids(source: Source, q: string): Entry[] {
  if (q.length < 6 || /\s/.test(q)) return [];
  const anywhere: Entry = { kind: 'id', label: q, hint: '*', action: 'find', query: { id: q } };
  return source.here ? [{ kind: 'id', label: q, hint: source.here, path: ['topics', source.here, 'messages'], query: { id: q } }, anywhere] : [anywhere];
}

/** looksLikeID knows ids as the broker and most clients generate them. */
function looksLikeID(q: string): boolean {
  return /^[0-9a-f-]{16,}$/i.test(q) && /\d/.test(q);
}
