// The topics with their figures, and what they were in the last two minutes.

import type { TopicFigures } from './frames';
import { live } from './live.svelte';
import { growth, Past } from './past';

interface Lately {
  in: Past<number>;
  lag: Past<bigint>;
}

const kept = 120; // samples, one a second

class TopicsNow {
  list = $state.raw<TopicFigures[] | undefined>();
  time = $state(0);
  problem = $state('');
  /** Changes with list, so that who reads that sees these as well. */
  past = new Map<string, Lately>();
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

  /** growth is how many messages a second the worst lag of a topic grew lately. */
  growth(name: string): number {
    return growth(this.past.get(name)?.lag.values ?? []);
  }

  #take(topics: TopicFigures[], time: number) {
    this.problem = '';
    const names = new Set<string>();
    for (const t of topics) {
      names.add(t.name);
      let p = this.past.get(t.name);
      if (!p) this.past.set(t.name, (p = { in: new Past(kept), lag: new Past(kept) }));
      p.in.add(t.in, time);
      p.lag.add(BigInt(t.worstLag), time);
    }
    for (const name of this.past.keys()) if (!names.has(name)) this.past.delete(name);
    this.list = topics;
    this.time = time;
  }
}

export const topicsNow = new TopicsNow();
