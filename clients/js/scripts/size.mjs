// Fails when what a browser loads of this client is more than 8 KiB, compressed as servers do.
import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const most = 8 * 1024;
const dist = new URL('../dist/', import.meta.url);
const files = readdirSync(dist).filter((f) => f.endsWith('.js') && f !== 'node.js' && f !== 'schema.js');
let all = 0;
for (const f of files) all += gzipSync(readFileSync(new URL(f, dist)), { level: 9 }).length; // each by itself, as they are loaded
console.log(`zbus-client: ${all} bytes of at most ${most}, in ${files.length} files`);
process.exit(all > most ? 1 : 0);
