// The one connection for live figures: what pages watch, how fresh it is, and the
// pause that stops all of it. Without a WebSocket it asks every five seconds.

import { untrack } from 'svelte';
import { explain, Failure, socketURL } from '../api/client';
import type { Channel, Figures, ServerFrame, TailFrame, TailQuery } from './frames';
import { poll } from './poll';
import { apply, backoff, type Wish } from './reducer';

export type State = 'connecting' | 'live' | 'polling' | 'paused' | 'lost';

interface Watch extends Wish {
  take(data: unknown, time: number): void;
  refused(detail: string, code: string): void;
  tail: boolean;
  /** The broker has begun to watch. */
  begun?: () => void;
  /** It is asked for: the socket has it for none but those who see all topics. */
  asked?: boolean;
}

// What the socket refuses to who sees only some topics, and requests answer with those.
const listed: unknown[] = ['topics', 'groups', 'rpc'];

const pollEvery = 5000;
const quiet = 4000; // no frame for so long: the connection is taken for lost
const hiddenFor = 5000;

class Live {
  state = $state<State>('connecting');
  /** When the last frame came, by this computer's clock. */
  fresh = $state(0);
  now = $state(Date.now());
  detail = $state('');
  /** How many connections there were: what came between two of them was not seen. */
  opened = 0;
  /** Told when the socket was closed or refused, which may be because a login is over. */
  onlost = () => {};
  /** Whether one may see the figures of the whole server. */
  observes = () => true;

  #watches: Watch[] = [];
  #socket: WebSocket | undefined;
  #refs = 0;
  #attempt = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #hide: ReturnType<typeof setTimeout> | undefined;
  #again = new Set<() => unknown>(); // what could not be read
  #asked: ReturnType<typeof setTimeout> | undefined;
  #polled = 0;
  #hidden = false;
  #resting = false;
  #started = false;

  start() {
    this.#started = true;
    setInterval(() => this.#tick(), 500);
    document.addEventListener('visibilitychange', () => this.#visibility());
    this.#connect();
  }

  /** rest stops everything while nobody is logged in. */
  rest(on: boolean) {
    if (on === this.#resting) return;
    this.#resting = on;
    if (this.paused) return;
    this.#disconnect();
    this.state = 'connecting';
    if (!on) this.#connect();
  }

  get paused() {
    return this.state === 'paused';
  }

  get age() {
    return this.fresh ? Math.max(0, this.now - this.fresh) : undefined;
  }

  /** pause stops everything that comes by itself; again is to go on. */
  pause(on = !this.paused) {
    if (on === this.paused) return;
    if (on) {
      this.#disconnect();
      this.state = 'paused';
    } else {
      this.state = 'connecting';
      this.#attempt = 0;
      this.#connect();
    }
  }

  /** watch hands on figures until the returned function is called. */
  watch<C extends Channel>(
    channel: C,
    args: Record<string, string>,
    take: (data: Figures[C], time: number) => void,
    refused: (detail: string, code: string) => void = () => {},
  ): () => void {
    return this.#add({ channel, ...args }, take as Watch['take'], refused, false);
  }

  tail(query: TailQuery, take: (frame: TailFrame) => void, refused: (detail: string) => void, begun?: () => void): () => void {
    return this.#add({ channel: 'tail', ...query }, take as unknown as Watch['take'], refused, true, begun);
  }

  /**
   * failed is what to say of something that could not be read. When there was no answer, or
   * nobody was logged in, it is read again as soon as the broker answers anything.
   */
  failed(err: unknown, again: () => unknown): string {
    const later = err instanceof Failure && (err.lost || [401, 502, 503, 504].includes(err.problem.status));
    if (later) this.#again.add(again);
    return explain(err);
  }

  #answered() {
    this.fresh = this.now = Date.now();
    const again = [...this.#again];
    this.#again.clear();
    for (const read of again) read();
  }

  #add(op: Record<string, unknown>, take: Watch['take'], refused: Watch['refused'], tail: boolean, begun?: () => void) {
    const watch: Watch = { ref: String(++this.#refs), op, watch: undefined, seq: -1, take, refused, tail, begun };
    this.#watches.push(watch);
    // What a page follows does not depend on how figures come: an effect that follows
    // must not run again, and begin anew, when that changes.
    const state = untrack(() => this.state);
    if (state === 'paused') this.#once();
    else this.#ask(watch);
    if (state === 'polling') this.#polled = 0;
    return () => {
      this.#watches = this.#watches.filter((w) => w !== watch);
      if (watch.watch) this.#send({ op: 'unwatch', watch: watch.watch });
    };
  }

  #ask(watch: Watch) {
    this.#send({ op: 'watch', ref: watch.ref, ...watch.op });
  }

  #send(frame: object) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #connect() {
    clearTimeout(this.#retry);
    if (this.#resting || !this.#started) return;
    const socket = new WebSocket(socketURL());
    this.#socket = socket;
    socket.onopen = () => {
      this.#attempt = 0;
      this.opened++;
      this.fresh = this.now = Date.now();
      this.state = 'live';
      for (const w of this.#watches) this.#ask(w);
    };
    socket.onmessage = (e: MessageEvent<string>) => this.#frame(e.data);
    socket.onclose = () => {
      if (this.#socket === socket) this.#lost();
    };
  }

  #disconnect() {
    clearTimeout(this.#retry);
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
    for (const w of this.#watches) {
      w.watch = undefined;
      w.asked = false;
    }
  }

  #lost() {
    this.#disconnect();
    if (this.paused || this.#hidden || this.#resting) return;
    this.onlost();
    this.#attempt++;
    // A proxy that lets no WebSocket through is known by the first attempts failing.
    this.state = this.opened === 0 && this.#attempt >= 2 ? 'polling' : this.state === 'polling' ? 'polling' : 'lost';
    const wait = this.state === 'polling' ? 30_000 : backoff(this.#attempt);
    this.#retry = setTimeout(() => this.#connect(), wait);
  }

  #frame(text: string) {
    let frame: ServerFrame;
    try {
      frame = JSON.parse(text) as ServerFrame;
    } catch {
      return;
    }
    this.#answered();
    const effect = apply(this.#watches, frame);
    if (effect.kind === 'figures') (effect.wish as Watch).take(effect.data, Date.parse(effect.time));
    else if (effect.kind === 'tail') {
      const { messages, missed } = effect.frame;
      (effect.wish as Watch).take({ messages, missed: missed ?? '0' }, this.now);
    } else if (effect.kind === 'watching') (effect.wish as Watch).begun?.();
    else if (effect.kind === 'refused') this.#refused(effect.wish as Watch, effect.detail, effect.code);
  }

  #refused(w: Watch, detail: string, code: string) {
    if (code !== 'forbidden' || !listed.includes(w.op.channel)) return w.refused(detail, code);
    w.asked = true;
    this.#polled = this.now;
    void this.#pollOne(w, 'live');
  }

  #tick() {
    if (this.#hidden || this.#resting) return;
    this.now = Date.now();
    if (this.state === 'live' && this.now - this.fresh > quiet && this.#watches.length > 0) this.#lost();
    const { state } = this;
    if ((state === 'polling' || state === 'live') && this.now - this.#polled >= pollEvery) {
      this.#polled = this.now;
      for (const w of this.#watches) if (state === 'live' ? w.asked : !w.tail) void this.#pollOne(w, state);
    }
  }

  // A page that is opened while paused shows what is now, and then stands still with all
  // else that is shown: everything has one age.
  #once() {
    clearTimeout(this.#asked);
    this.#asked = setTimeout(() => {
      for (const w of this.#watches) if (!w.tail) void this.#pollOne(w, 'paused');
    });
  }

  async #pollOne(w: Watch, state: State = 'polling') {
    try {
      const data = await poll(w.op, this.observes());
      if (!this.#watches.includes(w) || this.state !== state) return;
      this.#answered();
      w.take(data, this.fresh);
    } catch (err) {
      // Without an answer the badge shows the age of what is there, and the next round asks again.
      if (err instanceof Failure && !err.lost && this.#watches.includes(w)) w.refused(explain(err), err.problem.code);
    }
  }

  #visibility() {
    clearTimeout(this.#hide);
    if (document.hidden) {
      this.#hide = setTimeout(() => {
        this.#hidden = true;
        if (!this.paused) this.#disconnect();
      }, hiddenFor);
    } else if (this.#hidden) {
      this.#hidden = false;
      if (!this.paused) this.#connect();
    }
  }
}

export const live = new Live();
