// What a frame of the socket means for the watches, without socket or clock.

import type { ServerFrame } from './frames';

/** Wish is something that a page wants to see; it outlives connections. */
export interface Wish {
  ref: string;
  op: Record<string, unknown>; // channel and its arguments
  watch: string | undefined; // its name on the present connection
  seq: number;
}

export type Effect =
  | { kind: 'figures'; wish: Wish; data: unknown; time: string }
  | { kind: 'tail'; wish: Wish; frame: ServerFrame & { type: 'tail' } }
  | { kind: 'watching'; wish: Wish }
  | { kind: 'fresh' }
  | { kind: 'refused'; wish: Wish; code: string; detail: string }
  | { kind: 'none' };

/** apply takes one frame in and says what is to be done about it. */
export function apply(wishes: readonly Wish[], frame: ServerFrame): Effect {
  switch (frame.type) {
    case 'watching': {
      const wish = wishes.find((w) => w.ref === frame.ref);
      if (!wish) return { kind: 'fresh' };
      wish.watch = frame.watch;
      wish.seq = -1;
      return { kind: 'watching', wish };
    }
    case 'figures': {
      const wish = wishes.find((w) => w.watch === frame.watch);
      // Frames of a watch that was given up may still come; an older one never wins.
      if (!wish || frame.seq <= wish.seq) return { kind: 'none' };
      wish.seq = frame.seq;
      return { kind: 'figures', wish, data: frame.data, time: frame.time };
    }
    case 'tail': {
      const wish = wishes.find((w) => w.watch === frame.watch);
      return wish ? { kind: 'tail', wish, frame } : { kind: 'none' };
    }
    case 'beat':
      return { kind: 'fresh' };
    case 'problem':
    case 'ended': {
      const wish = wishes.find(
        (w) => (frame.type === 'problem' && frame.ref !== undefined && w.ref === frame.ref) || (frame.watch !== undefined && w.watch === frame.watch),
      );
      return wish ? { kind: 'refused', wish, code: frame.code, detail: frame.detail } : { kind: 'none' };
    }
    default:
      return { kind: 'none' };
  }
}

/** backoff is how long to wait before the nth attempt to connect, from 1. */
export function backoff(attempt: number, random = Math.random()): number {
  return Math.min(15_000, 300 * 2 ** (attempt - 1)) * (0.7 + 0.6 * random);
}
