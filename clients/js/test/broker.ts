// A real broker in a directory of its own.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, connect, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../..', import.meta.url));

export class Broker {
  url = '';
  /** The link with the secret that sets the first administrator. */
  setup = '';
  #process: ChildProcess | undefined;
  readonly #dir = mkdtempSync(join(tmpdir(), 'zbus-js-'));
  #address = '127.0.0.1:0';

  async start(...flags: string[]): Promise<this> {
    const binary = process.env.BROKER ?? join(root, 'bin', 'zbus');
    const child = spawn(binary, ['--listen', this.#address, '--data', this.#dir, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    let said = '';
    this.url = await new Promise<string>((found, failed) => {
      const hear = (data: Buffer) => {
        said += data.toString();
        const m = /listening\s+(http:\/\/\S+)/.exec(said);
        this.setup = /setup\s+(http\S+)/.exec(said)?.[1] ?? '';
        if (m && (this.setup || /stop\s+Ctrl-C/.test(said))) found(m[1]!);
      };
      child.stdout.on('data', hear);
      child.stderr.on('data', hear);
      child.on('exit', (code) => failed(new Error(`broker exited with ${code}: ${said}`)));
    });
    this.#address = new URL(this.url).host; // the same port after a restart
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

  constructor(to: string) {
    const { hostname, port } = new URL(to);
    this.#server = createServer((near) => {
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

  async start(port: string | number = 0): Promise<this> {
    await new Promise<void>((done) => this.#server.listen(Number(port), '127.0.0.1', done));
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

  close() {
    this.cut();
    this.#server.close();
  }
}

/** until waits for what is asked for over and over, each time at the broker. */
export async function until(what: string, holds: () => Promise<boolean>) {
  for (const end = Date.now() + 20_000; !(await holds()); ) if (Date.now() > end) throw new Error(`never happened: ${what}`);
}

/** build makes the broker of this tree for one process: several test at the same time. */
export function build() {
  const dir = mkdtempSync(join(tmpdir(), 'zbus-js-test-'));
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, 'zbus');
  execFileSync('go', ['build', '-o', path, './cmd/zbus'], { cwd: root, stdio: 'inherit' });
  process.env.BROKER = path;
}
