// One topic and its groups, live, with what their lags were lately.

import type { Figures, GroupFigures } from './frames';
import { live } from './live.svelte';
import { growth, Past } from './past';

const kept = 60;

export class TopicNow {
  figures = $state.raw<Figures['topic']>();
  problem = $state('');
  gone = $state(false);
  lags = new Map<string, Past<bigint>>();

  follow(topic: string): () => void {
    this.figures = undefined;
    this.problem = '';
    this.gone = false;
    this.lags.clear();
    return live.watch(
      'topic',
      { topic },
      (data, time) => {
        for (const g of data.groups) {
          const past = this.lags.get(g.name) ?? new Past<bigint>(kept);
          past.add(BigInt(g.lag), time);
          this.lags.set(g.name, past);
        }
        this.problem = '';
        this.figures = data;
      },
      (detail, code) => {
        this.problem = detail;
        this.gone = code === 'not_found';
      },
    );
  }

  group(name: string): GroupFigures | undefined {
    const small = name.toLowerCase();
    return this.figures?.groups.find((g) => g.name.toLowerCase() === small);
  }

  /** growth is by how many messages a second a group's lag grew lately. */
  growth(name: string): number {
    return growth(this.lags.get(name)?.values ?? []);
  }
}
