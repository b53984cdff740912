// Publishing messages once more, to another topic, a batch at a time. It can be
// stopped and goes on from there.

import { call, explain, type Message, type Schemas } from '../api/client';
import { uuid } from '../lib/body';
import { again, range, whole } from './export';

/** What to publish: chosen messages, or all of a range that a group would get. */
export type Source = { messages: readonly Message[] } | { from: bigint; to: bigint; group?: string };

const batch = 500; // messages
const batchSize = 2_000_000; // characters of bodies

export class Republishing {
  done = $state(0);
  /** Up to which offset of a range it has come. */
  at = $state(0n);
  started = $state(false);
  busy = $state(false);
  finished = $state(false);
  problem = $state('');
  first = $state<string>();
  #abort: AbortController | undefined;
  #run = uuid();

  constructor(
    readonly topic: string,
    readonly source: Source,
  ) {
    if ('from' in source) this.at = source.from;
  }

  stop() {
    this.#abort?.abort();
  }

  /**
   * go publishes what is left to a topic. Every message has an id made from this run
   * and its offset, so a batch whose answer was lost is not stored twice when it is
   * sent again.
   */
  async go(target: string) {
    const abort = (this.#abort = new AbortController());
    this.started = this.busy = true;
    this.problem = '';
    try {
      for await (const messages of this.#pages(abort.signal)) {
        for (let i = 0; i < messages.length; ) i += await this.#send(target, messages.slice(i, i + batch), abort.signal);
        if ('from' in this.source && messages.length) this.at = BigInt(messages.at(-1)!.offset) + 1n;
      }
      this.finished = true;
    } catch (err) {
      if (!abort.signal.aborted) this.problem = explain(err);
    } finally {
      this.busy = false;
    }
  }

  async *#pages(signal: AbortSignal): AsyncGenerator<readonly Message[]> {
    if ('messages' in this.source) yield this.source.messages.slice(this.done);
    else if (this.at < this.source.to) yield* range(this.topic, this.at, this.source.to, this.source.group, signal);
  }

  /** send publishes the first of some messages, as many as fit, and says how many. */
  async #send(target: string, messages: readonly Message[], signal: AbortSignal): Promise<number> {
    const body: Schemas['NewMessage'][] = [];
    let size = 0;
    for (const m of messages) {
      const full = await whole(this.topic, m, signal);
      size += (full.bodyBase64 ?? full.body ?? '').length;
      if (body.length && size > batchSize) break;
      body.push({ ...again(full), id: `${this.#run}-${m.offset}` });
    }
    signal.throwIfAborted();
    // Not given up when it is stopped: then nobody would know how many were done.
    const { data } = await call('post', '/topics/{topic}/messages', { params: { path: { topic: target } }, body }).send();
    this.first ??= data.offset;
    this.done += body.length;
    if ('from' in this.source) this.at = BigInt(messages[body.length - 1]!.offset) + 1n;
    signal.throwIfAborted();
    return body.length;
  }
}
