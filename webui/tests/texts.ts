// The texts of the sources: what t and n are called with.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

const quoted = String.raw`'((?:[^'\\]|\\.)*)'`;
const one = new RegExp(String.raw`\bt\(\s*${quoted}`, 'g');
// n(value, 'one', 'many'), whatever the value is.
const two = new RegExp(String.raw`\bn\((?:[^'"()]|\([^()]*\)|\((?:[^()]|\([^()]*\))*\))*?,\s*(?:\w+ \? )?${quoted}(?: : ${quoted})?,\s*(?:\w+ \? )?${quoted}(?: : ${quoted})?`, 'g');
const chosen = new RegExp(String.raw`\bt\(\w+ \? ${quoted} : ${quoted}`, 'g');

export function texts(dir: string): Set<string> {
  const found = new Set<string>();
  const visit = (path: string) => {
    if (statSync(path).isDirectory()) return readdirSync(path).forEach((name) => visit(join(path, name)));
    if (!/\.(svelte|ts)$/.test(path) || path.includes('i18n')) return;
    const text = readFileSync(path, 'utf8');
    for (const pattern of [one, two, chosen]) for (const m of text.matchAll(pattern)) for (const s of m.slice(1)) if (s !== undefined) found.add(s.replace(/\\(.)/g, '$1'));
  };
  visit(dir);
  return found;
}
