// Prints what the console weighs and fails above its budget.
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));
const firstPaint = 70;
const everything = 160;

const packed = (file) => readFileSync(dist + file + '.gz');
const text = (file) => gunzipSync(packed(file)).toString();
const files = ['index.html', 'theme.js', 'icon.svg', ...readdirSync(dist + 'assets').sort().map((f) => 'assets/' + f.replace(/\.gz$/, ''))];

// First: what the page names, and what these scripts import before they run.
const first = new Set(['index.html', 'theme.js']);
const visit = (file) => {
  if (first.has(file)) return;
  first.add(file);
  if (!file.endsWith('.js')) return;
  for (const [, name] of text(file).matchAll(/(?:from|import)\s*["']\.\/([\w.-]+)["']/g)) visit('assets/' + name);
};
for (const [, file] of text('index.html').matchAll(/(?:src|href)="\.\/([^"]+)"/g)) visit(file);

let paint = 0;
let all = 0;
console.log('file'.padEnd(34) + 'bytes'.padStart(9) + 'gzip'.padStart(9) + '  first');
for (const file of files) {
  const gz = packed(file).length;
  all += gz;
  if (first.has(file)) paint += gz;
  console.log(file.padEnd(34) + String(Buffer.byteLength(text(file))).padStart(9) + String(gz).padStart(9) + (first.has(file) ? '  *' : ''));
}
const kB = (n) => (n / 1024).toFixed(1).padStart(6) + ' KB';
console.log(`\nfirst paint ${kB(paint)} of ${firstPaint}\neverything  ${kB(all)} of ${everything}`);
if (paint > firstPaint * 1024 || all > everything * 1024) {
  console.error('above the budget');
  process.exit(1);
}
