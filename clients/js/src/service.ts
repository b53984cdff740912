import { Credit, type Connection, type Frame, type Lasting } from './connection.js';
import { CallError, errorOf } from './errors.js';

/** What answers calls: by the name of a method, or of its module, a dot and its name. */
export type Methods = Record<string, (...params: any[]) => unknown>;

export interface ServeOptions {
  /** A group of the topic; the default one unless set. */
  group?: string;
  /** How many calls may be here at a time: 1 to 10000, 16 unless set. */
  window?: number;
}

/** A service, which lasts over connections. */
export class Service implements Lasting {
  /** Resolves when calls can come. */
  readonly ready: Promise<void>;
  /** Resolves when it was closed, and is rejected when it ended with an error. */
  readonly done: Promise<void>;
  sub: string | undefined;
  #over = false;
  #busy = 0;
  #credit: Credit | undefined;
  #turn = 0;
  #isReady!: () => void;
  #notReady!: (e: Error) => void;
  #isDone!: () => void;
  #failed!: (e: Error) => void;

  constructor(
    private readonly conn: Connection,
    readonly topic: string,
    private readonly methods: Methods,
    private readonly o: ServeOptions,
  ) {
    this.ready = new Promise((y, n) => ((this.#isReady = y), (this.#notReady = n)));
    this.done = new Promise((y, n) => ((this.#isDone = y), (this.#failed = n)));
    this.ready.catch(() => {});
    this.done.catch(() => {});
    conn.add(this);
  }

  begin() {
    const turn = ++this.#turn;
    this.conn.ask({ op: 'serve', topic: this.topic, group: this.o.group }, { seen: (f) => this.conn.named(f.sub, this) }).then(
      (f) => {
        if (this.#over) return this.conn.tell({ op: 'unsubscribe', sub: f.sub });
        this.#busy = 0;
        this.#credit = new Credit(this.conn, f.sub, this.o.window ?? 16);
        this.#grant();
        this.#isReady();
      },
      (err) => {
        if (turn !== this.#turn || this.#over) return; // there will be another connection
        if (err.code === 'unavailable') setTimeout(() => turn === this.#turn && !this.#over && this.begin(), 1000);
        else this.fail(err);
      },
    );
  }

  #grant() {
    if (!this.#over) this.#credit?.grant(this.#busy);
  }

  lost() {
    this.sub = this.#credit = undefined;
    this.#turn++; // the callers of what is under way were told
  }

  frame(f: Frame) {
    if (f.type === 'ended') return this.fail(errorOf(f));
    if (f.type !== 'request') return;
    if (this.#credit) this.#credit.left = Number(f.credit);
    this.#busy++;
    void this.#answer(f, this.#turn);
    this.#grant();
  }

  async #answer(f: Frame, turn: number) {
    let answer: Frame;
    try {
      const name = f.module ? `${f.module}.${f.method}` : f.method;
      const method = [name, f.method].find((n) => Object.hasOwn(this.methods, n));
      if (method === undefined) throw new CallError(`no method "${name}"`, { status: 404, code: 'no_method' });
      const result = await this.methods[method]!(...(Array.isArray(f.params) ? f.params : [f.params]));
      answer = { result: result ?? null };
      JSON.stringify(answer); // an error of it is the method's
    } catch (err) {
      const e = err instanceof CallError ? err : new CallError(String((err as Error)?.message ?? err));
      answer = { error: { message: e.message || 'the service failed', status: e.status, code: e.code, data: e.data } };
    }
    if (turn !== this.#turn) return;
    this.#busy--;
    if (f.call !== undefined) this.conn.tell({ op: 'answer', sub: f.sub, call: f.call, ...answer });
    this.#grant();
  }

  fail(err: Error) {
    if (this.#over) return;
    this.#over = true;
    this.conn.remove(this);
    this.#notReady(err);
    this.#failed(err);
  }

  /** close takes no more calls. Those that are here are answered. */
  async close(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    const sub = this.sub;
    this.conn.remove(this);
    if (sub !== undefined && this.conn.alive) await this.conn.ask({ op: 'unsubscribe', sub }).catch(() => {});
    this.#isDone();
  }
}
