// The topics with their figures, and how much came to them in the last minutes.

import { call } from '../api/client';
import type { TopicFigures } from './frames';
import { live } from './live.svelte';
import { Past } from './past';

// As the broker keeps them: a value every five seconds, for five minutes.
const kept = 60;
const step = 5000;

class TopicsNow {
  list = $state.raw<TopicFigures[] | undefined>();
  time = $state(0);
  problem = $state('');
  /** What comes in a second. Changes with list, so that who reads that sees these as well. */
  past = new Map<string, Past<number>>();
  #viewers = 0;
  #stop: (() => void) | undefined;
  #known = -1; // the connection since which past is whole

  follow(): () => void {
    if (this.#viewers++ === 0) {
      this.#stop = live.watch('topics', {}, (data, time) => this.#take(data.topics, time), (detail) => (this.problem = detail));
    }
    return () => {
      if (--this.#viewers > 0) return;
      this.#stop?.();
      this.past.clear();
      this.#known = -1;
    };
  }

  find(name: string) {
    return this.list?.find((t) => t.name === name);
  }

  #take(topics: TopicFigures[], time: number) {
    this.problem = '';
    if (this.#known !== live.opened) {
      this.#known = live.opened;
      void this.#load();
    }
    const names = new Set<string>();
    for (const t of topics) {
      names.add(t.name);
      this.#pastOf(t.name).add(t.in, time);
    }
    for (const name of this.past.keys()) if (!names.has(name)) this.past.delete(name);
    this.list = topics;
    this.time = time;
  }

  /** load takes over what the broker remembers, where this page did not look. */
  async #load() {
    try {
      const { data } = await call('get', '/stats/topics', {}).send();
      // To topics that are not listed nothing came.
      const nothing = (data.topics[0]?.in ?? []).map(() => 0);
      for (const name of this.past.keys()) this.past.get(name)!.begin(nothing);
      for (const { name, in: values } of data.topics) this.#pastOf(name).begin(values);
      this.list = this.list?.map((t) => ({ ...t })); // rows are drawn again that are not the same
    } catch (err) {
      live.failed(err, () => this.#load()); // until then the lines begin here
    }
  }

  #pastOf(name: string) {
    let p = this.past.get(name);
    if (!p) this.past.set(name, (p = new Past(kept, step)));
    return p;
  }
}

export const topicsNow = new TopicsNow();
