// The topics with their figures, and what they were in the last two minutes.

import type { TopicFigures } from './frames';
import { live } from './live.svelte';
import { Past } from './past';

const kept = 120; // samples, one a second

class TopicsNow {
  list = $state.raw<TopicFigures[] | undefined>();
  time = $state(0);
  problem = $state('');
  /** What comes in a second. Changes with list, so that who reads that sees these as well. */
  past = new Map<string, Past<number>>();
  #viewers = 0;
  #stop: (() => void) | undefined;

  follow(): () => void {
    if (this.#viewers++ === 0) {
      this.#stop = live.watch('topics', {}, (data, time) => this.#take(data.topics, time), (detail) => (this.problem = detail));
    }
    return () => {
      if (--this.#viewers > 0) return;
      this.#stop?.();
      this.past.clear();
    };
  }

  find(name: string) {
    return this.list?.find((t) => t.name === name);
  }

  #take(topics: TopicFigures[], time: number) {
    this.problem = '';
    const names = new Set<string>();
    for (const t of topics) {
      names.add(t.name);
      let p = this.past.get(t.name);
      if (!p) this.past.set(t.name, (p = new Past(kept)));
      p.add(t.in, time);
    }
    for (const name of this.past.keys()) if (!names.has(name)) this.past.delete(name);
    this.list = topics;
    this.time = time;
  }
}

export const topicsNow = new TopicsNow();
