// The last calls by hand, as long as the page is open.

import type { Outcome } from './tryit';

const kept = 20;

class History {
  list = $state.raw<Outcome[]>([]);

  add(o: Outcome) {
    this.list = [o, ...this.list].slice(0, kept);
  }
}

export const calls = new History();
