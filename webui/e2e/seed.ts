// Believable data: a shop's topics, with groups that keep up and groups that do not.
import { connect } from 'node:net';
import type { Broker } from './broker';
import { Provider } from './provider';

let seed = 20261009;
function random(): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 32;
}
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
const id = () => Array.from({ length: 16 }, () => Math.floor(random() * 16).toString(16)).join('');

const regions = ['eu.de', 'eu.de', 'eu.fr', 'eu.nl', 'us.ca', 'us.ny', 'ap.sg'];
const steps = ['placed', 'paid', 'paid', 'shipped', 'void', 'refunded'];
const goods = ['lamp', 'desk', 'chair', 'shelf', 'rug', 'kettle', 'mug', 'clock'];
let order = 41_000;

export function orderMessage() {
  const region = pick(regions);
  const step = pick(steps);
  const items = Array.from({ length: 1 + Math.floor(random() * 3) }, () => ({ sku: `${pick(goods)}-${100 + Math.floor(random() * 900)}`, qty: 1 + Math.floor(random() * 4) }));
  const amount = (500 + Math.floor(random() * 90_000)) / 100;
  return {
    tag: `${region}.${step}`,
    key: `order-${++order}`,
    headers: { 'content-type': 'application/json', 'trace-id': id() },
    body: `{"order":${order},"account":90071992547409${930 + (order % 60)},"step":"${step}","amount":${amount.toFixed(2)},"currency":"${region.startsWith('us') ? 'USD' : 'EUR'}","items":${JSON.stringify(items)}}`,
  };
}

export async function fill(b: Broker) {
  const topics = [
    { name: 'orders', retention: { maxAge: 604_800_000 } },
    { name: 'payments', retention: { maxAge: 2_592_000_000, maxBytes: '20000000000' } },
    { name: 'shipments' },
    { name: 'stock.levels', kind: 'memory' },
    { name: 'mail.outbox', retention: { maxCount: '100000' } },
    { name: 'audit.trail' },
    { name: 'clickstream', retention: { maxBytes: '5000000000' } },
    { name: 'pricing', kind: 'rpc' },
  ];
  for (const t of topics) await b.call('POST', '/topics', t);
  const groups: [string, object][] = [
    ['orders', { name: 'billing', filter: 'eu.*', settle: 'explicit', start: 'earliest', maxDeliver: 5 }],
    ['orders', { name: 'warehouse', filter: '+.+.paid', start: 'earliest' }],
    ['orders', { name: 'archive', start: 'earliest' }],
    ['orders', { name: 'fraud-check', filter: '#.refunded;#.void', settle: 'explicit', start: 'earliest' }],
    ['payments', { name: 'ledger', settle: 'explicit', start: 'earliest' }],
    ['payments', { name: 'reports', start: 'earliest' }],
    ['shipments', { name: 'notify', start: 'earliest' }],
    ['mail.outbox', { name: 'smtp', settle: 'explicit', start: 'earliest', maxDeliver: 8 }],
    ['audit.trail', { name: 'archiver', start: 'earliest' }],
    ['clickstream', { name: 'sessions', start: 'earliest' }],
  ];
  for (const [topic, g] of groups) await b.call('POST', `/topics/${topic}/groups`, g);
  await b.publish('orders', Array.from({ length: 30_000 }, orderMessage));
  await b.publish('payments', Array.from({ length: 4000 }, orderMessage));
  await b.publish('shipments', Array.from({ length: 900 }, orderMessage));
  await b.publish('clickstream', Array.from({ length: 10_000 }, (_, i) => ({ tag: pick(['web.view', 'web.cart', 'app.view', 'app.tap']), body: `{"page":"/p/${pick(goods)}","visit":${7_000_000 + i}}` })));
  await b.publish('mail.outbox', Array.from({ length: 320 }, (_, i) => ({ tag: pick(['order', 'reset', 'news']), body: `To: customer${i}@example.org\nSubject: Your order\n\nThank you, it is on its way.\n` })));
  await b.publish('audit.trail', Array.from({ length: 500 }, (_, i) => ({ tag: pick(['login', 'role', 'export']), body: `{"who":"u${i % 17}","ok":true}` })));
  await b.publish('orders', [{ tag: 'eu.de.paid', headers: { 'content-type': 'application/octet-stream' }, bodyBase64: Buffer.from(Array.from({ length: 96 }, (_, i) => (i * 37) % 256)).toString('base64') }]);
  await b.publish('orders', Array.from({ length: 200 }, orderMessage));
}

async function settle(b: Broker, topic: string, group: string, max: number) {
  const got = await b.pull(topic, group, max);
  const handles = got.map((d) => d.handle).filter((h) => h !== undefined);
  if (handles.length) await b.call('POST', `/topics/${topic}/groups/${group}:ack`, { handles });
  return got.length;
}

/** consume brings groups to places that differ, and moves some about. */
export async function consume(b: Broker) {
  for (const [topic, group, most] of [
    ['orders', 'archive', 40_000], ['orders', 'warehouse', 40_000], ['orders', 'billing', 9000], ['payments', 'ledger', 5000], ['payments', 'reports', 5000],
    ['shipments', 'notify', 1000], ['clickstream', 'sessions', 20_000], ['mail.outbox', 'smtp', 250],
  ] as const) {
    for (let n = 0; n < most; ) {
      const got = await settle(b, topic, group, Math.min(1000, most - n));
      if (got === 0) break;
      n += got;
    }
  }
  await b.pull('orders', 'billing', 12); // in flight
  await b.pull('mail.outbox', 'smtp', 3);
  const move = async (group: string, to: object, reason: string) => {
    const plan = await b.call<{ id: string }>('POST', `/topics/orders/groups/${group}/plans`, { to });
    await b.call('POST', `/plans/${plan.id}:apply`, { reason });
  };
  await move('billing', { shift: '-2500' }, 'bad deploy 14:01, bill again');
  await b.call('PATCH', '/topics/orders/groups/billing', { filter: 'eu.*;!#.void', reason: 'void orders are not billed' });
  await move('fraud-check', { offset: '21000' }, 'rules before this are obsolete');
}

/** clients connects consumers of the native protocol, and gives what ends them. */
export function clients(b: Broker): () => void {
  const port = Number(new URL(b.url).port);
  const sockets = [['orders', 'archive'], ['orders', 'warehouse'], ['payments', 'reports'], ['shipments', 'notify'], ['clickstream', 'sessions'], ['clickstream', 'sessions']].map(([topic, group], i) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    const credit = () => socket.write(`GET / HTTP/1.1\r\ncmd: consume\r\ntopic: ${topic}\r\nconsume_group: ${group}\r\nwindow: 10000\r\nid: ${i}\r\n\r\n`);
    credit();
    socket.resume();
    return { socket, timer: setInterval(credit, 5000) };
  });
  return () => {
    for (const { socket, timer } of sockets) {
      clearInterval(timer);
      socket.destroy();
    }
  };
}

/** traffic publishes and consumes until the returned function is called. */
export function traffic(b: Broker): () => Promise<void> {
  let on = true;
  const loop = async (work: () => Promise<unknown>, every: number) => {
    while (on) {
      await work().catch(() => undefined);
      await new Promise((r) => setTimeout(r, every));
    }
  };
  const many = (n: number) => Array.from({ length: n }, orderMessage);
  const all = Promise.all([
    loop(() => b.publish('orders', many(12 + Math.floor(random() * 18))), 180),
    loop(() => b.publish('payments', many(4 + Math.floor(random() * 6))), 260),
    loop(() => b.publish('clickstream', many(30 + Math.floor(random() * 40))), 200),
    loop(() => b.publish('shipments', many(2)), 400),
    loop(() => b.publish('stock.levels', many(5)), 300),
    loop(() => settle(b, 'orders', 'billing', 25), 200),
    loop(() => settle(b, 'payments', 'ledger', 200), 120),
  ]);
  return async () => {
    on = false;
    await all;
  };
}

const price = { type: 'number' };
const pricing = {
  name: 'Price list',
  version: '2.3.1',
  description: 'Prices with and without tax.',
  methods: [
    {
      name: 'quote',
      description: 'The price of some pieces of an article, with tax.',
      params: { type: 'array', prefixItems: [{ title: 'sku', type: 'string', description: 'as in the catalogue' }, { title: 'count', type: 'integer', default: 1 }, { title: 'currency', enum: ['EUR', 'USD'] }] },
      result: { type: 'object', properties: { amount: price, tax: price, valid: { type: 'string' } } },
    },
    { name: 'tax', description: 'The tax of a region.', params: { type: 'array', prefixItems: [{ title: 'region', type: 'string' }] }, result: price },
    { name: 'reload', module: 'admin', description: 'Reads the list again.' },
  ],
};

/** calls makes two providers of prices, one of them slow, and calls to them. */
export async function calls(b: Broker): Promise<() => Promise<void>> {
  const pause = (ms: number) => new Promise((r) => setTimeout(r, ms));
  const make = (slow: number) =>
    new Provider(b, 'pricing', async ({ method, params }) => {
      await pause(random() * slow);
      if (method === 'tax' && params[0] === 'mars') return { body: '{"error":{"message":"no such region: mars"}}', status: 404 };
      return { body: `{"result":{"amount":129.90,"tax":20.74,"account":9007199254740993,"valid":"2026-12-31"}}` };
    });
  const providers = [await make(6).serve(pricing), await make(25).serve(pricing)];
  let on = true;
  const loop = async () => {
    while (on) {
      const method = pick(['quote', 'quote', 'quote', 'tax', 'tax', 'admin']);
      const path = method === 'admin' ? 'reload?module=admin' : method;
      await b.call('POST', `/rpc/pricing/${path}`, method === 'tax' ? [random() < 0.04 ? 'mars' : 'eu.de'] : [pick(goods), 2, 'EUR']).catch(() => undefined);
      await pause(20);
    }
  };
  const all = Promise.all([loop(), loop(), loop()]);
  return async () => {
    on = false;
    await all;
    for (const p of providers) p.close();
  };
}
