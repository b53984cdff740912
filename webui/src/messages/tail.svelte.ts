// The newest messages as they come. Rows stay when it is held, and go on from there.

import type { Message } from '../api/client';
import { big } from '../lib/format';
import type { TailQuery } from '../live/frames';
import { live } from '../live/live.svelte';

const kept = 5000;
const paint = 250; // milliseconds between two changes of the list

export class Tail {
  messages = $state.raw<Message[]>([]);
  missed = $state(0n);
  held = $state(false);
  waiting = $state(0);
  rate = $state(0);
  problem = $state('');
  /** The broker shows what comes from now on. */
  began = $state(false);
  #new: Message[] = [];
  #times: [number, number][] = []; // when, how many
  #stop: (() => void) | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  start(query: TailQuery) {
    this.stop();
    this.problem = '';
    this.began = false;
    this.#stop = live.tail(
      query,
      (frame) => {
        this.#new.push(...frame.messages);
        if (this.#new.length > kept) {
          this.missed += BigInt(this.#new.length - kept);
          this.#new = this.#new.slice(-kept);
        }
        this.missed += big(frame.missed);
        this.#times.push([Date.now(), frame.messages.length]);
      },
      (detail) => (this.problem = detail),
      () => (this.began = true),
    );
    this.#timer = setInterval(() => this.#show(), paint);
  }

  stop() {
    this.#stop?.();
    this.#stop = undefined;
    clearInterval(this.#timer);
  }

  clear() {
    this.messages = [];
    this.#new = [];
    this.missed = 0n;
  }

  #show() {
    const now = Date.now();
    this.#times = this.#times.filter(([at]) => now - at < 3000);
    this.rate = this.#times.reduce((sum, [, n]) => sum + n, 0) / 3;
    this.waiting = this.#new.length;
    if (this.held || this.#new.length === 0) return;
    this.messages = [...this.#new.reverse(), ...this.messages].slice(0, kept);
    this.#new = [];
    this.waiting = 0;
  }
}
