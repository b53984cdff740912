// What needs attention, as the broker judges it, for the header and the overview.

import type { Schemas } from '../api/client';
import { live } from './live.svelte';

class AttentionNow {
  figures = $state.raw<Schemas['Attention'] | undefined>();
  problem = $state('');

  /** How many need action: all but the small ones. */
  get count() {
    return (this.figures?.critical ?? 0) + (this.figures?.warning ?? 0);
  }

  follow() {
    return live.watch(
      'attention',
      {},
      (data) => {
        this.figures = data;
        this.problem = '';
      },
      (detail) => (this.problem = detail),
    );
  }
}

export const attentionNow = new AttentionNow();
