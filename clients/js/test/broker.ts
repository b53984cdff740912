// A real broker in a directory of its own.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, connect, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../..', import.meta.url));

/**
 * port is free, and none of those that systems hand out to who asks for any: so it is still
 * free when a broker is started there once more, whatever has connected in between.
 */
async function port(): Promise<number> {
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
  /** The link with the secret that sets the first administrator. */
  setup = '';
  #process: ChildProcess | undefined;
  readonly #dir = mkdtempSync(join(tmpdir(), 'zbus-js-'));
  #address = '';

  async start(...flags: string[]): Promise<this> {
    this.#address ||= `127.0.0.1:${await port()}`; // the same after a restart
    const binary = process.env.BROKER ?? join(root, 'bin', 'zbus');
    const child = spawn(binary, ['--listen', this.#address, '--data', this.#dir, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
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
    return this;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM') {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null) return;
    const gone = new Promise((done) => child.once('exit', done));
    child.kill(signal);
    await gone;
  }

  async close() {
    await this.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** Line is a way to the broker that can be cut. */
export class Line {
  #server: Server;
  #ends = new Set<Socket>();
  url = '';
  /** Bytes of the broker are let through. */
  #open = true;
  /** Connections are ended at once. */
  #refuses = false;

  constructor(to: string) {
    const { hostname, port } = new URL(to);
    this.#server = createServer((near) => {
      if (this.#refuses) return void near.on('error', () => {}).destroy();
      const far = connect(Number(port), hostname);
      for (const s of [near, far]) {
        this.#ends.add(s);
        s.on('error', () => {});
        s.on('close', () => (near.destroy(), far.destroy(), this.#ends.delete(s)));
      }
      near.pipe(far);
      far.on('data', (data) => this.#open && near.write(data));
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done));
    this.url = `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
    return this;
  }

  /** mute lets nothing of the broker through until the next cut: what it does is done unheard. */
  mute() {
    this.#open = false;
  }

  /** cut ends all connections. New ones are let through. */
  cut() {
    for (const s of this.#ends) s.destroy();
    this.#open = true;
  }

  /** refuse ends all connections, and those that are made, until it is over. */
  refuse(on: boolean) {
    this.#refuses = on;
    this.cut();
  }

  close() {
    this.cut();
    this.#server.close();
  }
}

/** until waits for what is asked for over and over, each time at the broker. */
export async function until(what: string, holds: () => Promise<boolean>) {
  for (const end = Date.now() + 60_000; !(await holds()); ) if (Date.now() > end) throw new Error(`never happened: ${what}`);
}

/** build makes the broker of this tree for one process: several test at the same time. */
export function build() {
  const dir = mkdtempSync(join(tmpdir(), 'zbus-js-test-'));
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, 'zbus');
  execFileSync('go', ['build', '-o', path, './cmd/zbus'], { cwd: root, stdio: 'inherit' });
  process.env.BROKER = path;
}
