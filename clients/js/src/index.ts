/**
 * The client of a zbus broker for browsers and Node: see README.md.
 * @module
 */
import { Connection, type Socket } from './connection.js';
import { ZbusError, errorOf } from './errors.js';
import type { components } from './schema.js';
import { Service, type Methods, type ServeOptions } from './service.js';
import { Subscription, type SubscribeOptions } from './subscription.js';

export { CallError, ZbusError, type Code } from './errors.js';
export { Service, type Methods, type ServeOptions } from './service.js';
export { Subscription, type Gap, type Message, type Position, type SubscribeOptions } from './subscription.js';
export type { Socket } from './connection.js';

/** All types of the API, by their names in openapi.yaml. */
export type Schemas = components['schemas'];
export type PublishResult = Schemas['PublishResult'];

/** A message to be published. */
export interface NewMessage extends Omit<Schemas['NewMessage'], 'body' | 'bodyBase64'> {
  body?: string | Uint8Array;
}

export interface Options {
  /** Who asks, where access is on. */
  token?: string;
  /** The WebSocket to use instead of the global one, which Node 20 does not have: see `zbus-client/node`. */
  WebSocket?: new (url: string, protocols: string[]) => Socket;
  /** The fetch to use instead of the global one. */
  fetch?: typeof fetch;
}

export interface CallOptions {
  module?: string;
  /** Milliseconds to wait for the answer; otherwise what the broker was configured with. */
  timeout?: number;
  /** Ends the waiting, not the call. */
  signal?: AbortSignal;
}

/** A client of one broker. It connects when it is first used, and again whenever that is lost. */
export class Client {
  readonly #base: string;
  readonly #conn: Connection;

  constructor(
    /** The broker's address, such as `http://127.0.0.1:15555`. */
    url: string | URL,
    private readonly options: Options = {},
  ) {
    this.#base = `${new URL(url).origin}/api/v1`;
    const connect = () => {
      const WebSocket = options.WebSocket ?? (globalThis as any).WebSocket;
      if (!WebSocket) throw new ZbusError('invalid', "there is no WebSocket here: give one as an option, such as that of 'zbus-client/node'");
      return new WebSocket(`${this.#base.replace('http', 'ws')}/ws`, options.token ? ['zbus', `zbus.token.${options.token}`] : ['zbus']) as Socket;
    };
    this.#conn = new Connection(connect, async () => {
      try {
        await this.request('GET', '/whoami');
      } catch (err) {
        if (err instanceof ZbusError && [401, 403, 421].includes(err.problem.status!)) return err;
      }
      return undefined;
    });
  }

  /**
   * publish stores a message. It resolves when that is on disk, with its offset, and with
   * `duplicate` if the topic knew its id. A message without an id is given one, so that it can
   * be sent again when the connection is lost before there is an answer: it is stored once, as
   * long as the broker knows its id (`--dedup-window`).
   */
  publish(topic: string, message: NewMessage, options?: { signal?: AbortSignal }): Promise<PublishResult>;
  /** publish stores several messages in one commit, all or none. */
  publish(topic: string, messages: NewMessage[], options?: { signal?: AbortSignal }): Promise<PublishResult[]>;
  async publish(topic: string, m: NewMessage | NewMessage[], options: { signal?: AbortSignal } = {}): Promise<PublishResult | PublishResult[]> {
    const one = !Array.isArray(m);
    const messages = (one ? [m] : m).map(({ body, ...rest }) => ({
      id: newID(),
      ...rest,
      ...(body instanceof Uint8Array ? { bodyBase64: base64(body) } : { body: body ?? '' }),
    }));
    const { results } = await this.#conn.ask({ op: 'publish', topic, messages }, { again: true, signal: options.signal });
    return one ? results[0] : results;
  }

  /** subscribe delivers messages of a topic, by iteration or to a function. */
  subscribe(topic: string, options: SubscribeOptions = {}): Subscription {
    const first = async (t: string) => BigInt((await this.topic(t)).firstOffset);
    return new Subscription(this.#conn, first, topic, options);
  }

  /**
   * call calls a method of a service: params are an array, or an object that is the only one.
   * An error of the service is a {@link CallError}; one of the broker is a {@link ZbusError}.
   * A call is never made twice: when the connection is lost, the code is `unknown`.
   */
  async call<T = unknown>(topic: string, method: string, params?: unknown[] | object, options: CallOptions = {}): Promise<T> {
    const { module, timeout, signal } = options;
    return (await this.#conn.ask({ op: 'call', topic, method, params, module, timeout }, { signal })).result as T;
  }

  /** serve answers calls of a topic of the kind `rpc`. */
  serve(topic: string, methods: Methods, options: ServeOptions = {}): Service {
    return new Service(this.#conn, topic, methods, options);
  }

  /** request makes a request of the HTTP API: the path begins behind `/api/v1`. */
  async request<T = unknown>(method: string, path: string, body?: unknown): Promise<T> {
    const headers: Record<string, string> = body === undefined ? {} : { 'Content-Type': 'application/json' };
    if (this.options.token) headers.Authorization = `Bearer ${this.options.token}`;
    const send = this.options.fetch ?? fetch;
    const init: RequestInit = { method, headers };
    if (body !== undefined) init.body = JSON.stringify(body);
    const res = await send(this.#base + path, init);
    const text = await res.text();
    if (res.ok) return (text ? JSON.parse(text) : undefined) as T;
    let p: Record<string, any> = {};
    try {
      p = JSON.parse(text);
    } catch {
      // It is not from a broker, or was refused before it was read.
    }
    throw errorOf({ code: res.status === 503 ? 'unavailable' : 'internal', detail: `${res.status} ${text.slice(0, 200)}`, status: res.status, ...p });
  }

  topics(query: { name?: string; after?: string; limit?: number } = {}): Promise<{ topics: Schemas['Topic'][]; total: number; next?: string }> {
    return this.request('GET', '/topics' + queryOf(query));
  }

  topic(name: string): Promise<Schemas['Topic']> {
    return this.request('GET', path`/topics/${name}`);
  }

  createTopic(topic: Schemas['NewTopic']): Promise<Schemas['Topic']> {
    return this.request('POST', '/topics', topic);
  }

  deleteTopic(name: string): Promise<void> {
    return this.request('DELETE', path`/topics/${name}`);
  }

  groups(topic: string, query: { name?: string; after?: string; limit?: number } = {}): Promise<{ groups: Schemas['Group'][]; total: number; next?: string }> {
    return this.request('GET', path`/topics/${topic}/groups` + queryOf(query));
  }

  group(topic: string, name: string): Promise<Schemas['Group']> {
    return this.request('GET', path`/topics/${topic}/groups/${name}`);
  }

  createGroup(topic: string, group: Schemas['NewGroup']): Promise<Schemas['Group']> {
    return this.request('POST', path`/topics/${topic}/groups`, group);
  }

  deleteGroup(topic: string, name: string): Promise<void> {
    return this.request('DELETE', path`/topics/${topic}/groups/${name}`);
  }

  /** browse reads the log without consuming it. */
  browse(topic: string, query: { from?: string; time?: string; id?: string; dir?: 'next' | 'prev'; limit?: number; tag?: string; text?: string } = {}): Promise<{ messages: Schemas['Message'][]; more: boolean; scannedTo: string }> {
    return this.request('GET', path`/topics/${topic}/messages` + queryOf(query));
  }

  /** close ends the connection, and everything that lasts. */
  close(): void {
    this.#conn.close();
  }
}

function path(parts: TemplateStringsArray, ...names: string[]): string {
  return String.raw({ raw: parts }, ...names.map(encodeURIComponent));
}

function queryOf(query: Record<string, unknown>): string {
  const given = Object.entries(query).filter(([, v]) => v !== undefined) as [string, string][];
  return given.length ? `?${new URLSearchParams(given)}` : '';
}

// Not randomUUID, which pages of plain HTTP do not have.
function newID(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');
}

function base64(bytes: Uint8Array): string {
  let s = '';
  for (const b of bytes) s += String.fromCharCode(b);
  return btoa(s);
}
