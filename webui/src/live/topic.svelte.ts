// One topic and its groups, live.

import type { Figures, GroupFigures } from './frames';
import { live } from './live.svelte';

export class TopicNow {
  figures = $state.raw<Figures['topic']>();
  problem = $state('');
  gone = $state(false);

  follow(topic: string): () => void {
    this.figures = undefined;
    this.problem = '';
    this.gone = false;
    return live.watch(
      'topic',
      { topic },
      (data) => {
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
}
