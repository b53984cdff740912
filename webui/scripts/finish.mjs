// After a build: the notices of what it contains, and the sum of what it was made from.
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

// What runs in the browser. The rest of node_modules only helps to build it.
const shipped = ['svelte', 'esm-env', 'clsx'];
const notices = shipped.map((name) => {
  const dir = join(root, 'node_modules', name);
  const { version, license, homepage } = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'));
  const file = readdirSync(dir).find((f) => /^licen[cs]e(\.\w+)?$/i.test(f));
  const text = file ? readFileSync(join(dir, file), 'utf8').trim() : `Licence: ${license}`;
  return `${name} ${version} (${license}) ${homepage ?? ''}`.trim() + `\n\n${text}\n`;
});
const line = '\n' + '-'.repeat(72) + '\n\n';
writeFileSync(join(root, 'dist/THIRD_PARTY.txt'), 'The console contains parts of these.\n' + line + notices.join(line));

/** sources are the files that the build depends on, by path with slashes. */
function sources(dir) {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    return statSync(path).isDirectory() ? sources(path) : [path];
  });
}
const files = [
  ...['src', 'public', 'scripts'].flatMap((dir) => sources(join(root, dir))),
  ...['index.html', 'package.json', 'package-lock.json', 'svelte.config.js', 'tsconfig.json', 'vite.config.ts'].map((f) => join(root, f)),
]
  .map((path) => relative(root, path).split(sep).join('/'))
  .sort();
const sum = createHash('sha256');
for (const file of files) {
  sum.update(file + '\n');
  sum.update(createHash('sha256').update(readFileSync(join(root, file))).digest('hex') + '\n');
}
writeFileSync(join(root, 'dist.sum'), sum.digest('hex') + '\n');
