// What an import would do, in numbers.

import type { Schemas } from '../api/client';
import { big } from '../lib/format';

export type Change = Schemas['Change'];

export interface Sum {
  create: number;
  update: number;
  delete: number;
  /** Of what is deleted. */
  topics: number;
  groups: number;
  messages: bigint;
}

export function sum(changes: readonly Change[]): Sum {
  const s: Sum = { create: 0, update: 0, delete: 0, topics: 0, groups: 0, messages: 0n };
  for (const c of changes) {
    s[c.action]++;
    if (c.action !== 'delete') continue;
    if (c.target.includes('/')) s.groups++;
    else s.topics++;
    s.messages += big(c.messages);
  }
  return s;
}
