// What the page of access shows: accounts, roles and tokens. It is read when a part of the
// page is opened, and after each change.

import { call, explain, type Schemas } from '../api/client';
import { live } from '../live/live.svelte';

export type Account = Schemas['Account'];
export type Role = Schemas['Role'];
export type Token = Schemas['Token'];

class Lists {
  accounts = $state.raw<Account[]>();
  roles = $state.raw<Role[]>();
  tokens = $state.raw<Token[]>();
  problem = $state('');

  async load() {
    try {
      const [accounts, roles, tokens] = await Promise.all([call('get', '/accounts', {}).send(), call('get', '/roles', {}).send(), call('get', '/tokens', {}).send()]);
      this.accounts = accounts.data.accounts;
      this.roles = roles.data.roles;
      this.tokens = tokens.data.tokens;
      this.problem = '';
    } catch (err) {
      this.problem = live.failed(err, () => this.load());
    }
  }
}

export const lists = new Lists();

/** fieldOf is the field that a refusal is about: its text begins with the name of it. */
export function fieldOf(err: unknown): string {
  return /^(grant|role|name|account|password|note|token|\d+ grants)\b/.exec(explain(err))?.[1]?.replace(/^\d+ grants/, 'grant') ?? '';
}
