// A provider of calls over the native protocol, as a client in any language would be.
import { connect, type Socket } from 'node:net';
import type { Broker } from './broker';

export interface Call {
  method: string;
  /** The parameters as they came, with all digits. */
  raw: string;
  params: unknown[];
}

/** Reply is the body of an answer, its status, or never any. */
export type Reply = { body: string; status?: number } | undefined;

export class Provider {
  readonly calls: Call[] = [];
  #socket: Socket;
  #buffer = Buffer.alloc(0);
  #heard: ((id: string) => void)[] = [];

  constructor(
    broker: Broker,
    readonly topic: string,
    readonly answer: (call: Call) => Reply | Promise<Reply>,
    /** What each of its requests says besides. */
    readonly more: Record<string, string> = {},
  ) {
    this.#socket = connect(Number(new URL(broker.url).port), '127.0.0.1');
    this.#socket.on('error', () => undefined);
    this.#socket.on('data', (data: Buffer) => {
      this.#buffer = Buffer.concat([this.#buffer, data]);
      while (this.#message());
    });
  }

  /** serve consumes, and describes itself when there is a description. */
  async serve(description?: object) {
    this.#write('declare', { topic: this.topic, topic_mask: '2', id: 'declare' });
    this.#write('consume', { topic: this.topic, id: 'serve', window: '100' });
    if (description) {
      const heard = new Promise<void>((done) => this.#heard.push((id) => id === 'describe' && done()));
      this.#write('describe', { topic: this.topic, id: 'describe' }, JSON.stringify(description));
      await heard;
    }
    return this;
  }

  get address(): string {
    return `127.0.0.1:${this.#socket.localPort}`;
  }

  close() {
    this.#socket.destroy();
  }

  #write(cmd: string, headers: Record<string, string>, body = '', start = 'GET / HTTP/1.1') {
    const size = { 'content-length': String(Buffer.byteLength(body)) };
    const lines = Object.entries({ cmd, ...this.more, ...headers, ...size }).map(([name, value]) => `${name}: ${value}\r\n`);
    this.#socket.write(`${start}\r\n${lines.join('')}\r\n${body}`);
  }

  #message(): boolean {
    const end = this.#buffer.indexOf('\r\n\r\n');
    if (end < 0) return false;
    const [, ...lines] = this.#buffer.subarray(0, end).toString().split('\r\n');
    const headers = Object.fromEntries(lines.map((l) => [l.slice(0, l.indexOf(':')).toLowerCase(), l.slice(l.indexOf(':') + 1).trim()]));
    const size = Number(headers['content-length'] ?? 0);
    if (this.#buffer.length < end + 4 + size) return false;
    const body = this.#buffer.subarray(end + 4, end + 4 + size).toString();
    this.#buffer = this.#buffer.subarray(end + 4 + size);
    if (headers.sender) void this.#call(headers, body);
    else for (const heard of this.#heard) heard(headers.id ?? '');
    return true;
  }

  async #call(headers: Record<string, string>, raw: string) {
    const { method, params } = JSON.parse(raw) as { method: string; params: unknown[] };
    const call = { method, params, raw };
    this.calls.push(call);
    const reply = await this.answer(call);
    if (reply) {
      const to = { recver: headers.sender!, id: headers.origin_id!, 'content-type': 'application/json' };
      this.#write('route', to, reply.body, `HTTP/1.1 ${reply.status ?? 200} x`);
    }
    this.#write('consume', { topic: this.topic, id: 'serve', window: '100' });
  }
}

/** oldCall calls as clients of the original do, to which an error is an answer of status 200. */
export function oldCall(broker: Broker, topic: string, method: string, params: unknown[]): Promise<{ status: number; body: string }> {
  const body = JSON.stringify({ method, params });
  const socket = connect(Number(new URL(broker.url).port), '127.0.0.1');
  socket.write(`GET / HTTP/1.1\r\ncmd: produce\r\ntopic: ${topic}\r\nack: false\r\nid: 1\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  return new Promise((answered, failed) => {
    let text = '';
    socket.on('error', failed);
    socket.on('data', (data: Buffer) => {
      text += data.toString();
      const m = /^HTTP\/1\.1 (\d+)[^]*?content-length: (\d+)[^]*?\r\n\r\n([^]*)$/i.exec(text);
      if (!m || Buffer.byteLength(m[3]!) < Number(m[2])) return;
      socket.destroy();
      answered({ status: Number(m[1]), body: m[3]! });
    });
  });
}

/** calculator is a service that has been described, fails, is slow, and never answers. */
export function calculator(broker: Broker, topic: string) {
  return new Provider(broker, topic, async ({ method, params, raw }) => {
    switch (method) {
      case 'plus':
        return { body: JSON.stringify({ result: (params as number[]).reduce((a, b) => Number(a) + Number(b), 0) }) };
      case 'echo':
        return { body: `{"result":${/"params":\s*(.*?)(?:,"module":.*)?\}$/s.exec(raw)![1]}}` };
      case 'div':
        return params[1] === 0 ? { body: '{"error":{"message":"division by zero"}}', status: 500 } : { body: JSON.stringify({ result: Number(params[0]) / Number(params[1]) }) };
      case 'text':
        return { body: 'not JSON' };
      default:
        return undefined;
    }
  }).serve(description);
}

export const description = {
  name: 'Calculator',
  version: '1.4.2',
  description: 'Sums and quotients.',
  methods: [
    {
      name: 'plus',
      description: 'Adds two numbers.',
      params: { type: 'array', prefixItems: [{ title: 'a', type: 'number', description: 'the first' }, { title: 'b', type: 'number', default: 2 }] },
      result: { type: 'number' },
    },
    { name: 'div', description: 'Divides a by b.', params: { type: 'array', prefixItems: [{ title: 'a', type: 'number' }, { title: 'b', type: 'number', description: 'not 0' }] }, result: { type: 'number' } },
    { name: 'echo', description: 'Gives back what it got.' },
  ],
};
