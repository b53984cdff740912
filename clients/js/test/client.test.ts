import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CallError, Client, ZbusError, type Gap, type Message } from '../src/index.js';
import { WebSocket } from '../src/node.js';
import { Broker, Line, build, until } from './broker.js';

const ackTimeout = 600_000; // longer than any test takes: no message comes again but for what a test does

let broker: Broker;
let clients: Client[] = [];
let lines: Line[] = [];

before(async () => {
  if (!process.env.BROKER) build();
  broker = await new Broker().start();
});
after(async () => {
  for (const c of clients) c.close();
  for (const l of lines) l.close();
  await broker.close();
});

function client(url = broker.url, token?: string): Client {
  const c = new Client(url, { WebSocket, ...(token === undefined ? {} : { token }) });
  clients.push(c);
  return c;
}

async function line(): Promise<Line> {
  const l = await new Line(broker.url).start();
  lines.push(l);
  return l;
}

const is = (code: string) => (err: unknown) => err instanceof ZbusError && err.code === code;

async function take(from: AsyncIterator<Message>, n: number): Promise<Message[]> {
  const all: Message[] = [];
  while (all.length < n) all.push((await from.next()).value);
  return all;
}

test('a publish resolves with its offset, and says what was known', async () => {
  const c = client();
  await c.createTopic({ name: 'orders' });
  const first = await c.publish('orders', { id: 'a', tag: 'drink.tea', headers: { shop: 'north' }, key: 'ann', body: 'one tea' });
  assert.deepEqual([first.offset, first.id, first.duplicate], ['0', 'a', undefined]);
  const again = await c.publish('orders', { id: 'a', body: 'one tea' });
  assert.deepEqual([again.offset, again.duplicate], ['0', true]);
  const two = await c.publish('orders', [{ body: new Uint8Array([0, 255, 1]) }, {}]);
  assert.deepEqual(two.map((r) => r.offset), ['1', '2']);
  const { messages } = await c.browse('orders', { from: '0', limit: 2 });
  assert.deepEqual(messages.map((m) => [m.body, m.bodyBase64, m.key]), [['one tea', undefined, 'ann'], [undefined, 'AP8B', undefined]]);
  await assert.rejects(c.publish('nowhere', { body: 'x' }), is('not_found'));
  await assert.rejects(c.topic('nowhere'), (e: unknown) => is('not_found')(e) && (e as ZbusError).problem.status === 404);
  assert.deepEqual((await c.topics({ name: 'orders' })).topics.map((t) => t.name), ['orders']);
});

test('messages come by iteration and to a function, and are acked', async () => {
  const c = client();
  await c.createTopic({ name: 'jobs' });
  await c.createGroup('jobs', { name: 'workers', settle: 'explicit', start: 'earliest', ackTimeout });
  await c.publish('jobs', Array.from({ length: 25 }, (_, i) => ({ body: JSON.stringify({ i }) })));
  const sub = c.subscribe('jobs', { group: 'workers', window: 4 });
  assert.deepEqual(await sub.ready, { group: 'workers', settle: 'explicit' });
  const seen: number[] = [];
  for await (const m of sub) {
    seen.push(m.json<{ i: number }>().i);
    if (seen.length === 1) {
      await m.extend();
      await m.nack(0);
      assert.equal(m.deliveryCount, 1);
    } else await m.ack();
    await assert.rejects(m.ack(), ZbusError);
    if (seen.length === 26) break;
  }
  assert.deepEqual([...seen].sort((a, b) => a - b), [0, ...Array.from({ length: 25 }, (_, i) => i)]);
  await until('all is acked', async () => (await c.group('jobs', 'workers')).lag === '0');

  const heard: string[] = [];
  const log = c.subscribe('jobs', { start: 'earliest', onMessage: (m) => heard.push(m.offset) && heard.length === 25 && log.close() });
  await log.done;
  assert.equal(heard.length, 25);
  await assert.rejects(c.subscribe('jobs', { start: 'earliest', onMessage: () => { throw new Error('no good'); } }).done, /no good/);
  await assert.rejects(c.subscribe('jobs', { group: 'nobody' }).next(), is('not_found'));
});

test('a window is how much is here or on its way', async () => {
  const c = client();
  await c.createTopic({ name: 'flood' });
  await c.createGroup('flood', { name: 'g', settle: 'explicit', start: 'earliest', ackTimeout });
  await c.publish('flood', Array.from({ length: 200 }, () => ({ body: 'x' })));
  const sub = c.subscribe('flood', { group: 'g', window: 10 });
  await until('the window is full', async () => (await c.group('flood', 'g')).inFlight === '10');
  await take(sub, 3);
  for (let i = 0; i < 5; i++) assert.ok(Number((await c.group('flood', 'g')).inFlight) <= 13);
  const all = await take(sub, 197);
  assert.equal(all.at(-1)!.offset, '199');
  await sub.close();
});

test('nothing is lost or stored twice when the connection is cut', async () => {
  const l = await line();
  const c = client();
  const far = client(l.url);
  await c.createTopic({ name: 'cut' });
  const sub = far.subscribe('cut', { window: 5 });
  await sub.ready;
  const sent: Promise<{ offset: string }>[] = [];
  let cuts = 0;
  for (let i = 0; i < 300; i++) {
    sent.push(far.publish('cut', { body: String(i) }));
    if (i % 50 === 25) {
      l.mute(); // what the broker answers is lost
      await until('the broker has it', async () => BigInt((await c.topic('cut')).nextOffset) >= BigInt(i));
      l.cut();
      cuts++;
      await Promise.all(sent);
    }
  }
  const results = await Promise.all(sent);
  assert.equal(cuts, 6);
  assert.deepEqual(results.map((r) => r.offset), Array.from({ length: 300 }, (_, i) => String(i)));
  assert.deepEqual((await take(sub, 300)).map((m) => m.body), Array.from({ length: 300 }, (_, i) => String(i)));
  assert.equal((await c.topic('cut')).nextOffset, '300');
  await sub.close();
});

test('messages of an explicit group come again after a cut, and an old ack is refused', async () => {
  const l = await line();
  const c = client();
  const far = client(l.url);
  await c.createTopic({ name: 'again' });
  await c.createGroup('again', { name: 'g', settle: 'explicit', start: 'earliest', ackTimeout });
  await c.publish('again', [{ body: '0' }, { body: '1' }]);
  const sub = far.subscribe('again', { group: 'g' });
  const [m] = await take(sub, 1);
  l.cut();
  let first: Message;
  do {
    first = (await sub.next()).value;
    await first.ack().catch((err) => assert.ok(is('not_found')(err) || is('unknown')(err), err));
  } while (first.body !== '0');
  assert.ok(first.deliveryCount > 1);
  await assert.rejects(m!.ack(), is('not_found'));
  if ((await c.group('again', 'g')).lag !== '0') await (await sub.next()).value.ack();
  assert.equal((await c.group('again', 'g')).lag, '0');
  await sub.close();
});

test('what was missed is said, and is an error for those who do not listen', async () => {
  const l = await line();
  const c = client();
  const far = client(l.url);
  await c.createTopic({ name: 'gaps' });
  await c.createGroup('gaps', { name: 'auto' });
  const gaps: Gap[] = [];
  const listens = far.subscribe('gaps', { onGap: (g) => gaps.push(g) });
  const silent = far.subscribe('gaps');
  const auto = far.subscribe('gaps', { group: 'auto' });
  await Promise.all([listens.ready, silent.ready, auto.ready]);
  await c.publish('gaps', { body: '0' });
  assert.equal((await listens.next()).value.body, '0');
  assert.equal((await silent.next()).value.body, '0');
  assert.equal((await auto.next()).value.body, '0');
  l.refuse(true); // and nothing can come
  await c.publish('gaps', Array.from({ length: 30 }, (_, i) => ({ body: String(i + 1) })));
  await c.request('POST', '/topics/gaps:empty');
  await c.publish('gaps', { body: 'after' });
  l.refuse(false);
  assert.equal((await listens.next()).value.body, 'after');
  assert.deepEqual(gaps, [{ from: 1n, to: 31n }]);
  await assert.rejects(silent.done, is('gap'));
  await assert.rejects(auto.done, is('gap'));
  await listens.close();
});

test('a service answers, and a call has one outcome', async () => {
  const l = await line();
  const c = client();
  const far = client(l.url);
  await c.createTopic({ name: 'calc', kind: 'rpc' });
  let hung = () => {};
  const service = far.serve('calc', {
    add: (a: number, b: number) => a + b,
    'shop.buy': ({ item }: { item: string }) => {
      throw new CallError(`${item} is sold out`, { status: 409, code: 'sold_out', data: { left: 0 } });
    },
    fail: () => Promise.reject(new Error('broken')),
    hang: () => new Promise(() => hung()),
    slow: () => new Promise(() => {}), // what has timed out may get here late: it is not the one that is waited for
    nothing: () => undefined,
  }, { window: 4 });
  await service.ready;
  assert.equal(await c.call('calc', 'add', [1, 2]), 3);
  assert.equal(await c.call('calc', 'nothing'), null);
  const sums = await Promise.all(Array.from({ length: 50 }, (_, i) => c.call<number>('calc', 'add', [i, 1])));
  assert.deepEqual(sums, Array.from({ length: 50 }, (_, i) => i + 1));
  await assert.rejects(c.call('calc', 'buy', { item: 'tea' }, { module: 'shop' }), (e: unknown) => {
    assert.ok(e instanceof CallError);
    assert.deepEqual([e.message, e.status, e.code, e.data], ['tea is sold out', 409, 'sold_out', { left: 0 }]);
    return true;
  });
  await assert.rejects(c.call('calc', 'fail'), (e: unknown) => e instanceof CallError && e.status === 500 && e.message === 'broken');
  await assert.rejects(c.call('calc', 'toString'), (e: unknown) => e instanceof CallError && e.status === 404 && e.code === 'no_method');
  await assert.rejects(c.call('calc', 'slow', [], { timeout: 50 }), (e: unknown) => is('timeout')(e) && (e as ZbusError).maybe);

  const here = new Promise<void>((y) => (hung = y));
  const lost = c.call('calc', 'hang');
  await here;
  l.cut();
  await assert.rejects(lost, is('provider_gone'));
  await until('it serves again', async () => (await c.call('calc', 'add', [2, 2]).catch(() => 0)) === 4);
  const unheard = far.call('calc', 'hang');
  await new Promise<void>((y) => (hung = y));
  l.cut();
  await assert.rejects(unheard, is('unknown'));
  await until('it serves again', async () => (await c.call('calc', 'add', [2, 2]).catch(() => 0)) === 4);
  await service.close();
  await assert.rejects(c.call('calc', 'add', [1, 2]), is('unavailable'));
});

test('a broker that is restarted is found again', async () => {
  const own = await new Broker().start();
  try {
    const c = client(own.url);
    await c.createTopic({ name: 'stays' });
    const sub = c.subscribe('stays');
    await sub.ready;
    await c.publish('stays', { body: 'before' });
    await own.stop('SIGKILL');
    const late = c.publish('stays', { body: 'after' });
    await own.start();
    assert.equal((await late).offset, '1');
    assert.deepEqual((await take(sub, 2)).map((m) => m.body), ['before', 'after']);
    c.close();
    await assert.rejects(sub.next(), is('closed'));
    await assert.rejects(c.publish('stays', {}), is('closed'));
  } finally {
    await own.close();
  }
});

test('a token says who asks, and what is not allowed is said with the grant', async () => {
  const own = await new Broker().start('--auth', 'on');
  try {
    const nobody = client(own.url, 'no-such-token');
    await assert.rejects(nobody.publish('t', {}), is('unauthorized'));
    const secret = /[?#&/=]([\w-]{16,})$/.exec(own.setup)![1];
    const res = await fetch(`${own.url}/api/v1/setup`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ secret, account: 'root', password: 'a good password' }) });
    const cookie = res.headers.get('set-cookie')!.split(';')[0]!;
    const post = async (path: string, body: object) =>
      (await (await fetch(`${own.url}/api/v1${path}`, { method: 'POST', headers: { 'Content-Type': 'application/json', Cookie: cookie, 'Zbus-Csrf': '1' }, body: JSON.stringify(body) })).json()) as { token: string; id: string };
    const root = client(own.url, (await post('/tokens', { account: 'root' })).token);
    await root.createTopic({ name: 't' });
    await root.request('POST', '/accounts', { name: 'shop', grants: ['publish:t'] });
    const made = await root.request<{ token: string; id: string }>('POST', '/tokens', { account: 'shop' });
    const shop = client(own.url, made.token);
    assert.equal((await shop.publish('t', { body: 'x' })).offset, '0');
    await assert.rejects(shop.subscribe('t').ready, (e: unknown) => is('forbidden')(e) && (e as ZbusError).problem.missing!.startsWith('consume:t'));
    const sub = root.subscribe('t');
    await sub.ready;
    await root.request('DELETE', `/tokens/${made.id}`);
    await assert.rejects(async () => {
      for (;;) await shop.publish('t', { body: 'y' });
    }, (e: unknown) => is('unauthorized')(e) || is('forbidden')(e));
    root.close();
    shop.close();
    nobody.close();
  } finally {
    await own.close();
  }
});

test('without a WebSocket it is said what to do', async () => {
  const c = new Client(broker.url);
  await assert.rejects(c.publish('orders', {}), /zbus-client\/node/);
});

test('large and long messages pass', async () => {
  const c = client();
  await c.createTopic({ name: 'large' });
  const sub = c.subscribe('large');
  await sub.ready;
  for (const body of ['x'.repeat(126), 'ü'.repeat(40_000), 'y'.repeat(1 << 20)]) {
    await c.publish('large', { body });
    assert.equal((await sub.next()).value.body, body);
  }
  await sub.close();
});
