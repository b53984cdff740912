/**
 * A WebSocket for Node 20, which has none: `new Client(url, { WebSocket })`. It is a client of
 * text frames, no more than zbus needs.
 * @module
 */
import { createHash, randomBytes } from 'node:crypto';
import { request as http } from 'node:http';
import { request as https } from 'node:https';
import type { Duplex } from 'node:stream';
import type { Socket } from './connection.js';

const most = 64 << 20; // bytes of a message
const enum Op {
  More = 0,
  Text = 1,
  Binary = 2,
  Close = 8,
  Ping = 9,
  Pong = 10,
}

export class WebSocket implements Socket {
  onopen: ((e: object) => void) | null = null;
  onmessage: ((e: { data: string }) => void) | null = null;
  onclose: ((e: { code: number; reason: string }) => void) | null = null;
  onerror: ((e: { error: Error }) => void) | null = null;
  #stream: Duplex | undefined;
  #request: ReturnType<typeof http>;
  #unread: Buffer = Buffer.alloc(0);
  #parts: Buffer[] = [];
  #size = 0;
  #closing = false;
  #over = false;

  constructor(url: string, protocols: string[] = []) {
    const key = randomBytes(16).toString('base64');
    const to = new URL(url.replace(/^ws/, 'http'));
    this.#request = (to.protocol === 'https:' ? https : http)(to, {
      headers: {
        Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key,
        ...(protocols.length ? { 'Sec-WebSocket-Protocol': protocols.join(', ') } : {}),
      },
    });
    this.#request.on('upgrade', (res, stream: Duplex, ahead: Buffer) => {
      const proof = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      if (res.headers['sec-websocket-accept'] !== proof) return this.#fail(stream, new Error('the other end does not speak WebSocket'));
      this.#stream = stream;
      stream.on('data', (data: Buffer) => this.#read(data));
      stream.on('error', () => {});
      stream.on('close', () => this.#end(1006, ''));
      this.onopen?.({});
      if (ahead.length) this.#read(ahead);
    });
    this.#request.on('response', (res) => {
      res.resume();
      this.#fail(undefined, new Error(`the handshake was answered with ${res.statusCode}`));
    });
    this.#request.on('error', (error) => this.#fail(undefined, error));
    this.#request.end();
  }

  send(text: string) {
    if (!this.#closing) this.#write(Op.Text, Buffer.from(text));
  }

  close(code = 1000, reason = '') {
    if (this.#closing) return;
    this.#closing = true;
    if (!this.#stream) {
      this.#request.destroy();
      return this.#end(1006, '');
    }
    const body = Buffer.alloc(2 + Buffer.byteLength(reason));
    body.writeUInt16BE(code);
    body.write(reason, 2);
    this.#write(Op.Close, body);
    const stream = this.#stream;
    setTimeout(() => stream.destroy(), 1000).unref(); // when the other end does not answer
  }

  #write(op: Op, body: Buffer) {
    const long = body.length > 0xffff ? 10 : body.length > 125 ? 4 : 2;
    const frame = Buffer.alloc(long + 4 + body.length);
    frame[0] = 0x80 | op;
    frame[1] = 0x80 | (long === 10 ? 127 : long === 4 ? 126 : body.length);
    if (long === 4) frame.writeUInt16BE(body.length, 2);
    if (long === 10) frame.writeBigUInt64BE(BigInt(body.length), 2);
    const mask = randomBytes(4);
    mask.copy(frame, long);
    for (let i = 0; i < body.length; i++) frame[long + 4 + i] = body[i]! ^ mask[i & 3]!;
    this.#stream?.write(frame);
  }

  #read(data: Buffer) {
    this.#unread = this.#unread.length ? Buffer.concat([this.#unread, data]) : data;
    for (;;) {
      const b = this.#unread;
      if (b.length < 2) return;
      const short = b[1]! & 127;
      const head = short === 127 ? 10 : short === 126 ? 4 : 2;
      if (b.length < head) return;
      const size = short === 127 ? Number(b.readBigUInt64BE(2)) : short === 126 ? b.readUInt16BE(2) : short;
      if (b[1]! & 128 || b[0]! & 0x70 || size + this.#size > most) return this.#fail(this.#stream, new Error('a frame that is malformed or too large'));
      if (b.length < head + size) return;
      this.#unread = b.subarray(head + size);
      this.#frame(b[0]! & 15, (b[0]! & 128) !== 0, b.subarray(head, head + size));
    }
  }

  #frame(op: Op, last: boolean, body: Buffer) {
    switch (op) {
      case Op.Ping:
        return this.#write(Op.Pong, body);
      case Op.Pong:
        return;
      case Op.Close: {
        const code = body.length > 1 ? body.readUInt16BE(0) : 1005;
        const reason = body.subarray(2).toString();
        if (!this.#closing) this.#write(Op.Close, body);
        this.#closing = true;
        this.#stream?.end();
        return this.#end(code, reason);
      }
    }
    this.#parts.push(body);
    this.#size += body.length;
    if (!last) return;
    const data = Buffer.concat(this.#parts).toString();
    this.#parts = [];
    this.#size = 0;
    this.onmessage?.({ data });
  }

  #fail(stream: Duplex | undefined, error: Error) {
    stream?.destroy();
    if (!this.#over) this.onerror?.({ error });
    this.#end(1006, error.message);
  }

  #end(code: number, reason: string) {
    if (this.#over) return;
    this.#over = this.#closing = true;
    this.onclose?.({ code, reason });
  }
}
