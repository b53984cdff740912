// Looking through a topic's log, a piece at a time.

import { call, type Message } from '../api/client';
import { big } from '../lib/format';
import { live } from '../live/live.svelte';

export interface Search {
  topic: string;
  from?: string;
  time?: string;
  id?: string;
  dir: 'next' | 'prev';
  tag?: string;
  text?: string;
  header?: string;
  group?: string;
}

const page = 200; // messages a call
const enough = 50; // found by one press of the button
const patience = 10; // calls that may find too little

export class Browse {
  messages = $state.raw<Message[]>([]);
  scanned = $state(0n);
  more = $state(false);
  loading = $state(false);
  started = $state(false);
  problem = $state('');
  first = $state(0n);
  next = $state(0n);
  #search: Search | undefined;
  #to: string | undefined;
  #abort: AbortController | undefined;

  /** start forgets what was found and looks from the search's place. */
  async start(search: Search) {
    this.stop();
    this.#search = search;
    this.#to = undefined;
    this.scanned = 0n;
    this.started = false;
    this.problem = '';
    await this.#look(true);
  }

  async goOn() {
    if (this.more && !this.loading) await this.#look(false);
  }

  stop() {
    this.#abort?.abort();
    this.loading = false;
  }

  async #look(anew: boolean) {
    const search = this.#search;
    if (!search) return;
    const abort = (this.#abort = new AbortController());
    this.loading = true;
    let found = 0;
    try {
      for (let i = 0; i < patience && found < enough; i++) {
        const data = await this.#ask(search, abort.signal);
        if (abort.signal.aborted) return;
        found += data.messages.length;
        this.messages = anew && i === 0 ? data.messages : [...this.messages, ...data.messages];
        this.scanned += big(data.scanned);
        this.first = big(data.firstOffset);
        this.next = big(data.nextOffset);
        this.#to = data.scannedTo;
        this.more = data.more;
        this.started = true;
        if (!data.more) break;
      }
      this.problem = '';
    } catch (err) {
      if (abort.signal.aborted) return;
      if (anew) this.messages = [];
      this.more = false;
      this.problem = live.failed(err, () => this.#search === search && this.start(search));
    }
    if (this.#abort === abort) this.loading = false;
  }

  async #ask(search: Search, signal: AbortSignal) {
    return (await browseCall(search, this.#to, page).send(signal)).data;
  }
}

/** browseCall is the call behind a search, or behind going on with it from an offset. */
export function browseCall(search: Search, goOn?: string, limit = 100) {
  const { topic, from, time, id, ...rest } = search;
  const place = goOn !== undefined ? { from: goOn } : id ? { id } : time ? { time } : from ? { from } : {};
  return call('get', '/topics/{topic}/messages', {
    params: { path: { topic }, query: { ...place, ...rest, limit, fates: true } },
  });
}
