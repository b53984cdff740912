// After a build: the notices of what it contains, all of it compressed into dist, and the sum of
// what it was made from.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import zopfli from '@gfx/zopfli';

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
writeFileSync(join(root, 'build/THIRD_PARTY.txt'), 'The console contains parts of these.\n' + line + notices.join(line));

/** below are all files of a directory. */
function below(dir) {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    return statSync(path).isDirectory() ? below(path) : [path];
  });
}

// Zopfli takes longer than zlib and 4 % fewer bytes, the same everywhere. What is there already
// need not be compressed again.
const gzip = promisify(zopfli.gzip);
const [built, dist] = [join(root, 'build'), join(root, 'dist')];
const kept = new Set();
for (const path of below(built)) {
  const packed = join(dist, relative(built, path)) + '.gz';
  const content = readFileSync(path);
  kept.add(packed);
  if (existsSync(packed) && gunzipSync(readFileSync(packed)).equals(content)) continue;
  mkdirSync(dirname(packed), { recursive: true });
  writeFileSync(packed, await gzip(content, { numiterations: 15 }));
}
for (const path of below(dist)) if (!kept.has(path)) rmSync(path);

// What the build depends on, by path with slashes.
const files = [
  ...['src', 'public', 'scripts'].flatMap((dir) => below(join(root, dir))),
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
