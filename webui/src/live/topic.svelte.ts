// One topic and its groups, live.

import type { Figures, GroupFigures } from './frames';
import { live } from './live.svelte';

export class TopicNow {
  figures = $state.raw<Figures['topic']>();
  problem = $state('');
  gone = $state(false);
  /** How many milliseconds the broker's clock is ahead of this computer's, when figures came. */
  ahead = 0;

  follow(topic: string): () => void {
    this.figures = undefined;
    this.problem = '';
    this.gone = false;
    return live.watch(
      'topic',
      { topic },
      (data, time) => {
        this.problem = '';
        this.ahead = time - Date.now();
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
}
