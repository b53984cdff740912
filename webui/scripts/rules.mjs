// What the content security policy forbids is not written in the first place.
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
const rules = [
  [/\{@html/, 'HTML from text'],
  [/\sstyle="/, 'a style attribute; use style: directives or a class'],
  [/\.innerHTML|\.outerHTML|insertAdjacentHTML|document\.write/, 'HTML from text'],
  [/\beval\(|new Function\(/, 'code from text'],
  [/https?:\/\/(?!www\.w3\.org\/)/, 'an address of another host'],
];
const most = 400; // lines

function* sources(dir) {
  for (const name of readdirSync(dir)) {
    const path = join(dir, name);
    if (statSync(path).isDirectory()) yield* sources(path);
    else if (/\.(svelte|ts|js|html|css)$/.test(name) && name !== 'schema.d.ts') yield path;
  }
}
let faults = 0;
for (const path of [join(root, 'index.html'), ...sources(join(root, 'src')), ...sources(join(root, 'public'))]) {
  const lines = readFileSync(path, 'utf8').split('\n');
  if (lines.length > most && !path.endsWith('zh.ts')) {
    console.error(`${path}: ${lines.length} lines, at most ${most}`);
    faults++;
  }
  lines.forEach((text, i) => {
    for (const [rule, what] of rules) {
      if (rule.test(text)) {
        console.error(`${path}:${i + 1}: ${what}`);
        faults++;
      }
    }
  });
}
process.exit(faults ? 1 : 0);
