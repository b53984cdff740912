import { ZbusError, errorOf } from './errors.js';

/** What of a WebSocket is used. Those of browsers and of `zbus-client/node` have it. */
export interface Socket {
  onopen: ((e: any) => void) | null;
  onmessage: ((e: any) => void) | null;
  onclose: ((e: any) => void) | null;
  onerror: ((e: any) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export type Frame = Record<string, any>;

/** What lasts longer than a connection: it begins anew on each. */
export interface Lasting {
  begin(): void;
  /** The connection is lost. */
  lost(): void;
  frame(f: Frame): void;
  fail(err: Error): void;
  sub: string | undefined;
}

interface Asking {
  /** It may be sent again on another connection. */
  again?: boolean;
  signal?: AbortSignal | undefined;
  /** Called with the answer, before any later frame is looked at. */
  seen?: (f: Frame) => void;
}

interface Waiting {
  frame: Frame;
  again: boolean;
  sent: boolean;
  done(f: Frame): void;
  fail(err: Error): void;
}

const pause = { least: 100, most: 5000 };
const quiet = 15_000; // ms without a frame, after which the broker is asked whether it is there
const patience = 10_000; // ms for the answer, and for a connection

/** One WebSocket after the other. */
export class Connection {
  readonly lasting = new Set<Lasting>();
  #subs = new Map<string, Lasting>();
  #waiting = new Map<string, Waiting>();
  #socket: Socket | undefined;
  #open = false;
  #closed = false;
  #refs = 0;
  #tries = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heard = 0;
  #ping: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly connect: () => Socket,
    /** Asks by HTTP why a connection was refused, which a WebSocket does not tell. */
    private readonly why: () => Promise<Error | undefined>,
  ) {}

  /** ask sends a frame and waits for its answer. */
  ask(frame: Frame, { again = false, signal, seen }: Asking = {}): Promise<Frame> {
    return new Promise((done, fail) => {
      if (this.#closed) return fail(closed());
      if (signal?.aborted) return fail(signal.reason);
      const ref = String(++this.#refs);
      const over = () => {
        this.#waiting.delete(ref);
        signal?.removeEventListener('abort', abort);
      };
      const abort = () => {
        over();
        fail(signal!.reason);
      };
      signal?.addEventListener('abort', abort);
      const w: Waiting = {
        frame: { ...frame, ref }, again, sent: false,
        done: (f) => (over(), seen?.(f), done(f)),
        fail: (err) => (over(), fail(err)),
      };
      this.#waiting.set(ref, w);
      this.#transmit(w);
      this.wake();
    });
  }

  /** tell sends a frame that is answered only if it fails, if there is a connection. */
  tell(frame: Frame) {
    if (this.#open) this.#socket!.send(JSON.stringify(frame));
  }

  add(l: Lasting) {
    if (this.#closed) return queueMicrotask(() => l.fail(closed()));
    this.lasting.add(l);
    if (this.#open) l.begin();
    this.wake();
  }

  /** named has the frames of a subscription go to it. */
  named(sub: string, l: Lasting) {
    l.sub = sub;
    this.#subs.set(sub, l);
  }

  remove(l: Lasting) {
    this.lasting.delete(l);
    if (l.sub !== undefined) this.#subs.delete(l.sub);
  }

  get alive(): boolean {
    return this.#open;
  }

  close() {
    this.#closed = true;
    this.#fail(closed());
    this.#socket?.close(1000);
    this.#down();
  }

  /** wake connects, unless that is done or under way. */
  wake() {
    if (this.#socket || this.#timer !== undefined || this.#closed) return;
    let s: Socket;
    try {
      s = this.connect();
    } catch (err) {
      return this.#fail(err as Error);
    }
    this.#socket = s;
    this.#beat(s);
    s.onopen = () => {
      this.#open = true;
      this.#tries = 0;
      for (const l of this.lasting) l.begin();
      for (const w of this.#waiting.values()) this.#transmit(w);
    };
    s.onmessage = (e) => {
      this.#heard = Date.now();
      this.#frame(JSON.parse(e.data));
    };
    s.onerror = () => {}; // its end follows
    s.onclose = (e) => this.#ended(s, e);
  }

  #beat(s: Socket) {
    this.#heard = Date.now();
    this.#ping = setInterval(() => {
      const silence = Date.now() - this.#heard;
      if (silence > (this.#open ? quiet : 0) + patience) {
        s.close();
        this.#ended(s, {}); // the other end may not say goodbye
      } else if (silence > quiet) this.tell({ op: 'ping' });
    }, patience / 2);
    (this.#ping as any).unref?.();
  }

  #transmit(w: Waiting) {
    if (!this.#open || w.sent) return;
    w.sent = true;
    this.#socket!.send(JSON.stringify(w.frame));
  }

  #frame(f: Frame) {
    const w = this.#waiting.get(f.ref);
    if (w) {
      if (f.type !== 'problem') return w.done(f);
      // What is not known is asked again, with the same ids.
      if (f.code === 'unknown' && w.again) {
        w.sent = false;
        setTimeout(() => this.#waiting.has(f.ref) && this.#transmit(w), pause.least);
      } else w.fail(errorOf(f));
      return;
    }
    this.#subs.get(f.sub)?.frame(f);
  }

  #down() {
    clearInterval(this.#ping);
    this.#socket = undefined;
    this.#open = false;
    this.#subs.clear();
  }

  async #ended(s: Socket, e: { code?: number; reason?: string }) {
    if (s !== this.#socket) return;
    const refused = !this.#open || e.code === 1008;
    this.#down();
    for (const l of this.lasting) l.lost();
    for (const w of [...this.#waiting.values()]) {
      if (w.sent && !w.again) w.fail(new ZbusError('unknown', 'the connection was lost: it may have been done'));
      w.sent = false;
    }
    if (this.#closed || (!this.lasting.size && !this.#waiting.size)) return;
    const wait = Math.min(pause.most, pause.least * 2 ** this.#tries++) * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.wake();
    }, wait);
    const err = refused ? await this.why().catch(() => undefined) : undefined;
    if (err) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#fail(err);
    }
  }

  /** Everything ends with an error. */
  #fail(err: Error) {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const w of [...this.#waiting.values()]) w.fail(err);
    for (const l of [...this.lasting]) {
      this.remove(l);
      l.fail(err);
    }
  }
}

/** Credit says how many more frames may come for a subscription. It replaces what was left, which
    may be on its way: so that there is never more than the window, both are counted. */
export class Credit {
  left = 0;
  #asking = false;

  constructor(
    private readonly conn: Connection,
    private readonly sub: string,
    private readonly window: number,
  ) {}

  /** grant has more come when half of the window or more is free; busy is what is here. */
  grant(busy: number) {
    const room = this.window - busy - this.left;
    if (this.#asking || room < 1 || busy + this.left > this.window / 2) return;
    this.#asking = true;
    const seen = () => {
      this.left = room;
      this.#asking = false;
    };
    this.conn.ask({ op: 'credit', sub: this.sub, credit: room }, { seen }).catch(() => {}); // it has ended, which is told
  }
}

function closed() {
  return new ZbusError('closed', 'the client was closed');
}
