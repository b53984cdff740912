// A real broker in a directory of its own, and calls to it.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** build makes the broker of this tree, in a directory. */
export function build(dir: string): string {
  const path = join(dir, 'zbus');
  execFileSync('go', ['build', '-ldflags', '-X main.release=v0.9.0', '-o', path, './cmd/zbus'], { cwd: root, stdio: 'inherit' });
  return path;
}

/** binary is the broker that was built before the first test, or the one that BROKER names. */
export function binary(): string {
  return process.env.BROKER!;
}

/**
 * port is free, and none of those that systems hand out to who asks for any: so it is still
 * free when a broker is started there once more, whatever has connected in between.
 */
export async function port(): Promise<number> {
  for (;;) {
    const port = 11_000 + Math.floor(Math.random() * 20_000);
    const free = await new Promise<boolean>((tell) => {
      const probe = createServer().once('error', () => tell(false));
      probe.listen(port, '127.0.0.1', () => probe.close(() => tell(true)));
    });
    if (free) return port;
  }
}

export class Broker {
  url = '';
  /** The link that sets the first administrator, where the broker printed one. */
  setup = '';
  /** What a call says who it is by. */
  auth: Record<string, string> = {};
  #process: ChildProcess | undefined;
  readonly #dir = mkdtempSync(join(tmpdir(), 'zbus-e2e-'));
  #address: string;

  constructor(address = '') {
    this.#address = address;
  }

  async start(...flags: string[]) {
    this.#address ||= `127.0.0.1:${await port()}`; // the same after a restart
    const child = spawn(binary(), ['--listen', this.#address, '--data', this.#dir, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    let said = '';
    this.url = await new Promise<string>((found, failed) => {
      const hear = (data: Buffer) => {
        said += data.toString();
        const m = /listening\s+(http:\/\/\S+)/.exec(said);
        this.setup = /setup\s+(http\S+)\s/.exec(said)?.[1] ?? '';
        if (m && (this.setup || /stop\s+Ctrl-C/.test(said))) found(m[1]!);
      };
      child.stdout.on('data', hear);
      child.stderr.on('data', hear);
      child.on('exit', (code) => failed(new Error(`broker exited with ${code}: ${said}`)));
    });
  }

  get pid(): number {
    return this.#process!.pid!;
  }

  async stop() {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null) return;
    const gone = new Promise((done) => child.once('exit', done));
    child.kill('SIGTERM');
    await gone;
  }

  async close() {
    await this.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** call makes one request of the API; an answer that is not 2xx is an error. */
  async call<T = unknown>(method: string, path: string, body?: unknown): Promise<T> {
    const res = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: body === undefined ? this.auth : { ...this.auth, 'Content-Type': typeof body === 'string' ? 'application/x-ndjson' : 'application/json' },
      body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
    });
    const text = await res.text();
    if (!res.ok) throw new Error(`${method} ${path}: ${res.status} ${text}`);
    return (text ? JSON.parse(text) : undefined) as T;
  }

  /** publish stores messages in as few commits as possible and gives the first offset. */
  async publish(topic: string, messages: object[]): Promise<bigint> {
    const first = await this.call<{ offset: string }>('POST', `/topics/${topic}/messages`, messages.slice(0, 10_000));
    for (let i = 10_000; i < messages.length; i += 10_000) await this.call('POST', `/topics/${topic}/messages`, messages.slice(i, i + 10_000));
    return BigInt(first.offset);
  }

  async pull(topic: string, group: string, max = 100, timeout = 0) {
    type Delivery = { offset: string; tag?: string; body?: string; handle?: string };
    return (await this.call<{ deliveries: Delivery[] }>('POST', `/topics/${topic}/groups/${group}:pull`, { max, timeout })).deliveries;
  }

  async group(topic: string, group: string) {
    return this.call<{ cursor: string; filter: string; lag: string; paused: boolean; version: string }>('GET', `/topics/${topic}/groups/${group}`);
  }
}
