// Grants, as the broker reads them: see internal/access/grant.go, whose rules these are. The
// broker is the judge; this one says what a control would be refused for. One file of vectors
// tests both.

import { matches, parseFilter, type Filter } from './filter';

export const topicVerbs = ['publish', 'consume', 'browse', 'manage', 'move', 'call', 'serve'];
export const groupVerbs = ['consume', 'manage', 'move'];
export const verbs = [...topicVerbs, 'observe', 'sessions', 'access', 'admin', 'join'];

export interface Grant {
  verbs: string[];
  topic?: Filter; // none for verbs without a topic
  group?: Filter; // none: any group, and the topic itself
}

/** parseGrant compiles verb[,verb…][:topic[/group]] for an account; undefined if it is no grant. */
export function parseGrant(text: string, account: string): Grant | undefined {
  const [names, place] = cut(text, ':');
  const grant: Grant = { verbs: names.split(',').map((v) => v.trim()) };
  if (!grant.verbs.every((v) => verbs.includes(v))) return undefined;
  const bound = grant.verbs.filter((v) => topicVerbs.includes(v)).length;
  if (bound === 0) return place === undefined ? grant : undefined;
  if (bound < grant.verbs.length || place === undefined) return undefined;
  const [topic, group] = cut(place, '/');
  grant.topic = pattern(topic, account);
  if (group !== undefined) {
    if (!grant.verbs.every((v) => groupVerbs.includes(v))) return undefined;
    grant.group = pattern(group, account);
    if (!grant.group) return undefined;
  }
  return grant.topic && grant;
}

function cut(text: string, by: string): [string, string | undefined] {
  const i = text.indexOf(by);
  return i < 0 ? [text, undefined] : [text.slice(0, i), text.slice(i + 1)];
}

function pattern(text: string, account: string): Filter | undefined {
  const p = text.replaceAll('{account}', account).toLowerCase();
  if (/^[; ]*$/.test(p) || /[{}/]/.test(p)) return undefined;
  const filter = parseFilter(p);
  return typeof filter === 'string' ? undefined : filter;
}

/** covers reports whether a grant allows a verb; see is to know that a topic is there. */
export function covers(g: Grant, verb: string, topic = '', group = ''): boolean {
  if (g.verbs.includes('admin')) return true;
  const fits = !g.topic || matches(g.topic, topic.toLowerCase());
  if (verb === 'see') return g.verbs.includes('observe') || (g.topic !== undefined && fits);
  if (!g.verbs.includes(verb)) return false;
  return fits && (!g.group || (group !== '' && matches(g.group, group.toLowerCase())));
}

/** needed is the grant that would allow a verb. */
export function needed(verb: string, topic = '', group = ''): string {
  if (verb === 'see') return 'observe';
  if (!topicVerbs.includes(verb) || !topic) return verb;
  return group && groupVerbs.includes(verb) ? `${verb}:${topic}/${group}` : `${verb}:${topic}`;
}
