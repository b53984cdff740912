import { Credit, type Connection, type Frame, type Lasting } from './connection.js';
import { ZbusError, errorOf } from './errors.js';
import type { components } from './schema.js';

type Delivered = components['schemas']['Delivery'];
export type Position = components['schemas']['Position'];

/** A message, and how to settle it. */
export interface Message extends Delivered {
  /** The body, of text or not. */
  bytes(): Uint8Array;
  /** The body, which has to be JSON. */
  json<T = unknown>(): T;
  /** In an explicit group: it is done. Resolves when that is on disk. */
  ack(): Promise<void>;
  /** In an explicit group: it is delivered again, after a delay in ms. */
  nack(delay?: number): Promise<void>;
  /** In an explicit group: the ack timeout begins anew. */
  extend(): Promise<void>;
}

/** What a subscription may have missed while there was no connection. */
export interface Gap {
  /** The log was replaced, and begins anew. */
  reset?: boolean;
  /** These were removed from the log before they were delivered: from, up to and not including. */
  from?: bigint;
  to?: bigint;
  /** In an auto group messages are done when they are sent: those on their way are lost to it. */
  onTheWay?: boolean;
}

export interface SubscribeOptions {
  /** Consume in this group, which exists. Without one, all messages are delivered here as well. */
  group?: string;
  /** Without a group: only messages whose tags match. */
  filter?: string;
  /** Without a group: where to begin; `latest` unless set. */
  start?: Position;
  /** Without a group: begin behind this offset. */
  after?: string;
  /** How many messages may be here or on their way before they are handled: 1 to 10000, 100 unless set. */
  window?: number;
  /** Handles messages one after the other. Without it, iterate. When it fails, the subscription ends. */
  onMessage?: (m: Message) => unknown;
  /** Told what may have been missed. Without it, the subscription ends with the error `gap` then. */
  onGap?: (gap: Gap) => void;
}

/** How a topic's first offset is found out. */
export type FirstOffset = (topic: string) => Promise<bigint>;

/** A subscription, which lasts over connections. */
export class Subscription implements AsyncIterableIterator<Message>, Lasting {
  /** Resolves when messages can come, with the group and how it settles. */
  readonly ready: Promise<{ group: string; settle: 'auto' | 'explicit' }>;
  /** Resolves when it was closed, and is rejected when it ended with an error. */
  readonly done: Promise<void>;
  sub: string | undefined;

  #queue: Message[] = [];
  #takers: { take(r: IteratorResult<Message>): void; fail(e: Error): void }[] = [];
  #over = false;
  #error: Error | undefined;
  #after: string | undefined;
  #credit: Credit | undefined;
  #began = false;
  #settle: string | undefined;
  #turn = 0; // of connections
  #isReady!: (v: any) => void;
  #notReady!: (e: Error) => void;
  #isDone!: () => void;
  #failed!: (e: Error) => void;

  constructor(
    private readonly conn: Connection,
    private readonly first: FirstOffset,
    readonly topic: string,
    private readonly o: SubscribeOptions,
  ) {
    this.ready = new Promise((y, n) => ((this.#isReady = y), (this.#notReady = n)));
    this.done = new Promise((y, n) => ((this.#isDone = y), (this.#failed = n)));
    this.ready.catch(() => {}); // who iterates is told, too
    this.done.catch(() => {});
    this.#after = o.after;
    conn.add(this);
    if (o.onMessage) void this.#run(o.onMessage);
  }

  async #run(f: (m: Message) => unknown) {
    try {
      for (let r = await this.next(); !r.done; r = await this.next()) await f(r.value);
    } catch (err) {
      this.#end(err as Error);
    }
  }

  begin() {
    const turn = ++this.#turn;
    const { group, filter, start } = this.o;
    const place = group !== undefined ? { group } : { filter, ...(this.#after === undefined ? { start: start ?? 'latest' } : { after: this.#after }) };
    this.conn.ask({ op: 'subscribe', topic: this.topic, ...place }, { seen: (f) => this.conn.named(f.sub, this) }).then(
      (f) => this.#subscribed(f, turn),
      (err) => {
        if (turn !== this.#turn || this.#over) return; // there will be another connection
        // Of an exclusive group the broker may not have seen yet that the last connection is lost.
        if (err.code === 'unavailable' || (err.code === 'conflict' && this.#began)) setTimeout(() => turn === this.#turn && !this.#over && this.begin(), 1000);
        else this.#end(err);
      },
    );
  }

  async #subscribed(f: Frame, turn: number) {
    if (this.#over) return this.conn.tell({ op: 'unsubscribe', sub: f.sub });
    const again = this.#began;
    this.#began = true;
    this.#settle = f.settle;
    if (f.reset) this.#gap({ reset: true });
    else if (again && this.o.group !== undefined && f.settle === 'auto') this.#gap({ onTheWay: true });
    else if (again && this.o.group === undefined) {
      // No consumer would notice what was removed in the meantime.
      const next = BigInt(this.#after!) + 1n;
      const first = await this.first(this.topic).catch(() => 0n);
      if (turn !== this.#turn || this.#over) return;
      if (first > next) this.#gap({ from: next, to: first });
    }
    if (f.after !== undefined && !again) this.#after = f.after;
    this.#credit = new Credit(this.conn, f.sub, this.o.window ?? 100);
    this.#grant();
    this.#isReady({ group: f.group, settle: f.settle });
  }

  #gap(gap: Gap) {
    if (gap.reset) this.#after = '-1';
    if (this.o.onGap) this.o.onGap(gap);
    else this.#end(new ZbusError('gap', `messages of ${this.topic} may have been missed: ${Object.keys(gap).join(', ')}`, {}));
  }

  #grant() {
    if (!this.#over) this.#credit?.grant(this.#queue.length);
  }

  lost() {
    this.sub = this.#credit = undefined;
    this.#turn++;
    // These come again, and nobody has seen them yet.
    if (this.#settle === 'explicit') this.#queue = [];
  }

  frame(f: Frame) {
    if (f.type === 'ended') {
      this.sub = undefined;
      return this.#end(errorOf(f));
    }
    if (f.type !== 'message' || this.#over) return;
    if (this.#credit) this.#credit.left = Number(f.credit);
    this.#after = f.message.offset;
    this.#queue.push(this.#message(f.message, f.sub, this.#turn));
    this.#deal();
    this.#grant();
  }

  #message(d: Delivered, sub: string, turn: number): Message {
    const settle = async (op: string, more?: object) => {
      if (d.handle === undefined) throw new ZbusError('invalid', 'only messages of explicit groups are acked');
      if (turn !== this.#turn) throw new ZbusError('not_found', 'the connection was lost since: the message comes again');
      await this.conn.ask({ op, sub, handles: [d.handle], ...more });
    };
    const bytes = () => (d.bodyBase64 === undefined ? new TextEncoder().encode(d.body) : Uint8Array.from(atob(d.bodyBase64), (c) => c.charCodeAt(0)));
    return {
      ...d,
      bytes,
      json: <T>() => JSON.parse(d.body ?? new TextDecoder().decode(bytes())) as T,
      ack: () => settle('ack'),
      nack: (delay = 0) => settle('nack', { delay }),
      extend: () => settle('extend'),
    };
  }

  #deal() {
    while (this.#queue.length && this.#takers.length) this.#takers.shift()!.take({ value: this.#queue.shift()!, done: false });
    if (!this.#over || this.#queue.length) return;
    for (const t of this.#takers.splice(0)) {
      if (this.#error) t.fail(this.#error);
      else t.take({ value: undefined, done: true });
    }
  }

  next(): Promise<IteratorResult<Message>> {
    const p = new Promise<IteratorResult<Message>>((take, fail) => this.#takers.push({ take, fail }));
    this.#deal();
    this.#grant();
    return p;
  }

  async return(): Promise<IteratorResult<Message>> {
    await this.close();
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  fail(err: Error) {
    this.#end(err);
  }

  #end(err?: Error) {
    if (this.#over) return;
    this.#over = true;
    this.#error = err;
    const sub = this.sub;
    this.conn.remove(this);
    if (sub !== undefined) this.conn.tell({ op: 'unsubscribe', sub });
    if (err) {
      this.#notReady(err);
      this.#failed(err);
    } else this.#isDone();
    this.#deal();
  }

  /** close ends it. What was not acked goes to other consumers. */
  async close(): Promise<void> {
    this.#queue = [];
    this.#end();
  }
}
