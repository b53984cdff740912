// Once for all files, which run at the same time: the broker of this tree is built.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from './broker';

export default function () {
  if (process.env.BROKER) return;
  const dir = mkdtempSync(join(tmpdir(), 'zbus-e2e-'));
  process.env.BROKER = build(dir);
  return () => rmSync(dir, { recursive: true, force: true });
}
