// Markup in all that clients say of themselves and of their messages, and in all that people write: the
// console shows it as it is, wherever it shows it, and runs none of it.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker } from './broker';
import { launch, open, there } from './browser';
import { Provider } from './provider';

const password = 'correct horse';

/** Each would call hit, if it ran; what stands before it says which field it was in. */
const kinds: ((field: string) => string)[] = [
  (f) => `${f}<img src=x onerror=hit('${f}')>`,
  (f) => `${f}"><script>hit('${f}')</script>`,
  (f) => `${f}'"><svg/onload=hit('${f}')>`,
  (f) => `${f}</textarea></pre></title><iframe srcdoc="<script>parent.hit('${f}')</script>">`,
  (f) => `${f}<a href="javascript:hit('${f}')">x</a><style>@import 'http://other.example/'</style>`,
  (f) => `${f}{{constructor.constructor("hit('${f}')")()}}\${hit('${f}')}<!--`,
];

describe.skipIf(!there)('markup', () => {
  const broker = new Broker();
  let browser: Browser;
  let provider: Provider;

  beforeAll(async () => {
    await broker.start('--auth', 'on');
    const secret = broker.setup.split('#')[1]!;
    const res = await fetch(`${broker.url}/api/v1/setup`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ secret, account: 'anna', password }) });
    expect(res.status).toBe(200);
    broker.auth = { Cookie: res.headers.get('Set-Cookie')!.split(';')[0]! };
    const { token } = await broker.call<{ token: string }>('POST', '/tokens', { account: 'anna', note: kinds[0]!('token note') });
    broker.auth = { Authorization: `Bearer ${token}` };

    await broker.call('POST', '/topics', { name: 'orders' });
    const messages = kinds.map((k, i) => ({ id: k(`id${i}`), tag: k(`tag${i}`), body: k(`body${i}`), headers: { 'x-note': k(`header${i}`), 'content-type': 'text/html' } }));
    messages.push({ id: 'json', tag: 'json', body: JSON.stringify({ [kinds[0]!('member')]: kinds[0]!('value') }), headers: { 'x-note': 'x', 'content-type': 'application/json' } });
    await broker.publish('orders', messages);
    await broker.call('POST', '/topics/orders/groups', { name: 'billing', start: 'earliest', settle: 'explicit', maxDeliver: 5 });
    const [first] = await broker.pull('orders', 'billing', 1, 5000);
    await broker.call('POST', '/topics/orders/groups/billing:nack', { handles: [first!.handle], reason: kinds[2]!('nack reason'), dead: true });
    await broker.call('POST', '/topics/orders/groups', { name: 'moved', start: 'earliest', filter: kinds[1]!('filter').replaceAll(';', '') });
    const plan = await broker.call<{ id: string }>('POST', '/topics/orders/groups/moved/plans', { to: 'latest' });
    await broker.call('POST', `/plans/${plan.id}:apply`, { reason: kinds[3]!('move reason') });
    await broker.call('POST', '/accounts', { name: 'shop', note: kinds[4]!('account note'), grants: [] });
    await broker.call('PUT', '/roles/desk', { note: kinds[5]!('role note'), grants: [] });

    await broker.call('POST', '/topics', { name: 'calc', kind: 'rpc' });
    provider = new Provider(broker, 'calc', () => ({ body: JSON.stringify({ error: { message: kinds[0]!('answer') } }), status: 500 }), { token });
    await provider.serve({
      name: kinds[0]!('service'), version: kinds[1]!('version'), description: kinds[2]!('description'),
      methods: [{ name: kinds[3]!('method'), description: kinds[4]!('of method'), params: { type: 'array', prefixItems: [{ title: kinds[5]!('title'), type: 'number', description: kinds[0]!('of parameter') }] } }],
    });
    browser = await launch();
  });
  afterAll(async () => {
    provider?.close();
    await browser?.close();
    await broker.close();
  });

  /** What each page shows of the payloads, and what is there only once it has loaded. */
  const pages: { hash: string; shows?: string[]; ready?: string }[] = [
    { hash: '#/topics/orders/messages?from=0', shows: kinds.map((_, i) => `tag${i}`) },
    ...kinds.map((_, i) => ({ hash: `#/topics/orders/messages?from=${i}&at=${i}`, shows: [`id${i}`, `tag${i}`, `body${i}`, `header${i}`] })),
    { hash: `#/topics/orders/messages?from=0&at=${kinds.length}`, shows: ['member', 'value'] },
    { hash: '#/topics/orders.dead/messages?from=0&at=0', shows: ['nack reason'] },
    { hash: '#/topics/orders/groups', shows: ['filter'] },
    { hash: '#/topics/orders/groups/moved/filter', shows: ['filter'], ready: '.meter' },
    { hash: '#/topics/orders/groups/moved/journal', shows: ['move reason'] },
    { hash: '#/groups', shows: ['filter'], ready: '[role=row][id]' },
    { hash: '#/audit', ready: '[aria-label=Audit] [role=row][id]' },
    { hash: '#/access', shows: ['account note'] },
    { hash: '#/access/tokens', shows: ['token note'] },
    { hash: '#/access/roles', shows: ['role note'] },
    { hash: '#/rpc/calc', shows: ['service', 'description', 'method', 'of method'] },
    { hash: '#/sessions', ready: '[aria-label=Sessions] [role=row][id]' },
    // What the address of the page says.
    { hash: `#/topics?q=${encodeURIComponent(kinds[0]!('sought'))}`, ready: 'text=No topic fits' },
    { hash: `#/topics/${encodeURIComponent(kinds[1]!('topic'))}/messages`, shows: ['topic'], ready: '.note.bad' },
    { hash: `#/topics/orders/groups/${encodeURIComponent(kinds[2]!('group'))}`, shows: ['group'], ready: '.note.bad' },
    { hash: `#/${encodeURIComponent(kinds[3]!('page'))}`, ready: 'text=There is no such page' },
  ];

  /** What of the payloads has become more than text. */
  const alive = (page: Page) =>
    page.evaluate(() => [...document.querySelectorAll('img[src="x"], iframe, [onerror], [onload], [href^="javascript:"]')].map((e) => e.outerHTML));

  it('runs where nothing keeps it from that', async () => {
    const page = await browser.newPage();
    const hits: string[] = [];
    await page.exposeFunction('hit', (field: string) => hits.push(field));
    for (const [i, kind] of kinds.slice(0, 4).entries()) {
      await page.setContent(kind(`control${i}`));
      await expect.poll(() => hits, { timeout: 45_000 }).toContain(`control${i}`);
    }
    await page.close();
  });

  it('is shown as it is, and runs nowhere', async () => {
    const { page, context, clean } = await open(browser, broker.url, { allow: /status of (40[014]|500)|WebSocket connection/, height: 2000 });
    const hits: string[] = [];
    await page.exposeFunction('hit', (field: string) => hits.push(field));
    page.on('dialog', (d) => void d.dismiss());
    await page.goto(`${broker.url}/ui/`);
    await page.getByLabel('Account', { exact: true }).fill('anna');
    await page.getByLabel('Password', { exact: true }).fill(password);
    await page.keyboard.press('Enter');
    await page.locator('[data-state="live"]').waitFor();
    for (const { hash, shows = [], ready } of pages) {
      await page.evaluate((hash) => (location.hash = hash), hash);
      if (ready) await page.locator('main').locator(ready).first().waitFor();
      for (const field of shows) {
        const text = kinds.map((k) => k(field));
        const found = () => page.evaluate((text) => text.some((t) => document.querySelector('main')!.textContent!.includes(t.slice(0, t.indexOf('hit(')))), text);
        await expect.poll(found, { message: `${hash}: ${field}`, timeout: 45_000 }).toBe(true);
      }
      expect(await alive(page), hash).toEqual([]);
    }

    // A body that says it is a page, in each way to look at it; and what a provider answers.
    await page.evaluate(() => (location.hash = '#/topics/orders/messages?from=1&at=1'));
    await page.getByRole('group', { name: 'Body', exact: true }).getByText('body1').first().waitFor();
    const ways = await page.getByRole('group', { name: 'Show the body as' }).getByRole('button').all();
    expect(ways.length).toBeGreaterThan(1);
    for (const way of ways) {
      await way.click();
      expect(await alive(page), await way.textContent() ?? '').toEqual([]);
    }
    await page.evaluate(() => (location.hash = '#/rpc/calc'));
    await page.getByLabel('Method', { exact: true }).fill(kinds[3]!('method'));
    await page.getByLabel('Parameters, as JSON').fill('[1]');
    await page.getByLabel('Parameters, as JSON').press('Control+Enter');
    await page.locator('[data-result]').getByText('answer<img').first().waitFor();
    expect(await alive(page), 'an answer').toEqual([]);
    expect(hits).toEqual([]);
    clean();
    await context.close();
  });

  it('does not run either when a browser opens the message itself', async () => {
    const { page, context } = await open(browser, broker.url, { allow: /./ });
    const hits: string[] = [];
    await page.exposeFunction('hit', (field: string) => hits.push(field));
    await context.setExtraHTTPHeaders(broker.auth);
    for (const path of ['/api/v1/topics/orders/messages?from=0', '/api/v1/topics/orders/messages/1', '/api/v1/rpc/calc', '/metrics', '/server', '/tracker']) {
      const answer = await page.goto(`${broker.url}${path}`);
      expect(answer!.status(), path).toBe(200);
      expect(answer!.headers()['x-content-type-options'], path).toBe('nosniff');
      expect(await alive(page), path).toEqual([]);
    }
    expect(hits).toEqual([]);
    await context.close();
  });
});
