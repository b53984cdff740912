// Services: live figures, a call by hand with every digit, and what became of it.
import { spawn, type ChildProcess } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { binary, Broker } from './broker';
import { accessible, go, keys, launch, open, requests, there, type View } from './browser';
import { calculator, oldCall, type Provider } from './provider';

describe.skipIf(!there)('RPC', () => {
  const broker = new Broker();
  let browser: Browser;
  let view: View;
  let page: Page;
  let provider: Provider;

  beforeAll(async () => {
    await broker.start();
    await broker.call('POST', '/topics', { name: 'calc', kind: 'rpc' });
    await broker.call('POST', '/topics', { name: 'orders' });
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    await broker.close();
  });
  beforeEach(async () => {
    provider = await calculator(broker, 'calc');
    view = await open(browser, broker.url, { width: 1600, allow: /status of [45]\d\d/ }); // so that all columns are there
    page = view.page;
  });
  afterEach(() => provider.close());
  const done = async () => {
    view.clean();
    await view.context.close();
  };
  const row = (name: string) => page.getByRole('grid', { name: 'Methods' }).getByRole('row').filter({ hasText: name });
  const result = () => page.locator('[data-result]');
  const answer = () => page.getByRole('group', { name: 'Answer', exact: true });
  const call = async (method: string, params: string) => {
    await page.getByLabel('Method', { exact: true }).fill(method);
    await page.getByLabel('Parameters, as JSON').fill(params);
    await page.getByLabel('Parameters, as JSON').press('Control+Enter');
  };

  /** end waits for the end of a client, which otherwise declares its topic again when it is deleted. */
  const end = async (client: ChildProcess) => {
    const gone = new Promise((gone) => client.once('exit', gone));
    client.kill();
    if (client.exitCode === null && client.signalCode === null) await gone;
  };

  it('shows topics for calls as what they are, and not as logs', async () => {
    const target = createServer((_, res) => res.end('from behind'));
    await new Promise<void>((up) => target.listen(0, '127.0.0.1', up));
    const url = `http://127.0.0.1:${(target.address() as AddressInfo).port}`;
    const proxy = spawn(binary(), ['proxy', '--topic', 'shop', '--target', url, '--server', new URL(broker.url).host], { stdio: 'ignore' });
    try {
      await expect.poll(async () => (await fetch(`${broker.url}/proxy/shop/`)).text(), { timeout: 45_000 }).toBe('from behind');
      await broker.call('POST', '/rpc/calc/echo', [1]); // plus is counted below
      for (const [topic, seen] of [['calc', 'plus'], ['shop', `forwards to ${url}`]] as const) {
        await go(page, broker.url, `#/topics/${topic}`);
        await page.locator('main').getByText(seen).first().waitFor();
        await page.getByText('calls since the start of the broker').first().waitFor();
        for (const name of ['Publish', 'Empty…']) expect(await page.getByRole('button', { name, exact: true }).count(), name).toBe(0);
        await expect.poll(() => page.getByRole('navigation', { name: 'Parts of the topic' }).getByRole('link').allTextContents()).toEqual([topic === 'shop' ? 'Requests' : 'Calls', 'Settings', 'History']);
        await accessible(page, `the topic ${topic}`);
      }
      const [group] = (await broker.call<{ groups: { name: string }[] }>('GET', '/topics/calc')).groups;
      await go(page, broker.url, `#/topics/calc/groups/${group!.name}`);
      await page.getByText('This topic is for calls').waitFor();
      expect(await page.getByRole('slider').count()).toBe(0);
    } finally {
      await end(proxy);
      target.close();
      await broker.call('DELETE', '/topics/shop');
    }
    await done();
  });

  it('lists topics for calls without what only logs have', async () => {
    await broker.publish('orders', [{ body: 'a' }, { body: 'b' }]);
    await broker.call('POST', '/topics/orders/groups', { name: 'billing', start: 'earliest' });
    await broker.call('POST', '/rpc/calc/echo', [1]);
    // The texts of a row, by what stands above them.
    const cells = async (grid: string, link: string) => {
      const rows = page.getByRole('grid', { name: grid, exact: true }).getByRole('row');
      const texts = await rows.filter({ has: page.getByRole('link', { name: link, exact: true }) }).getByRole('gridcell').allTextContents();
      const heads = await rows.first().getByRole('columnheader').allTextContents();
      return Object.fromEntries(heads.map((h, i) => [h.trim(), texts[i]?.trim()]));
    };
    const log = { Messages: '2', 'Oldest offset': '0' };
    for (const sort of ['depth', '-depth', 'bytes', '-bytes']) {
      await go(page, broker.url, `#/topics?sort=${sort}`);
      await expect.poll(() => cells('Topics', 'orders'), { message: sort }).toMatchObject(log);
      expect(await cells('Topics', 'calc'), sort).toMatchObject({ Kind: 'rpc', Messages: '–', Size: '–', 'Oldest offset': '–' });
      const names = page.getByRole('grid', { name: 'Topics' }).locator('.named a');
      expect(await names.allTextContents(), `sorted by ${sort}`).toEqual(['orders', 'calc']);
    }
    await go(page, broker.url, '#/groups');
    await expect.poll(() => cells('Groups', 'billing')).toMatchObject({ Cursor: '0', Lag: '2' });
    const [group] = (await broker.call<{ groups: { name: string }[] }>('GET', '/topics/calc')).groups;
    const row = page.getByRole('grid', { name: 'Groups' }).getByRole('row').filter({ has: page.locator('a[href$="/topics/calc/groups/' + group!.name + '"]') });
    await row.waitFor();
    expect((await row.getByRole('gridcell').last().textContent())!.trim(), 'the cursor').toBe('–');
    await go(page, broker.url, '#/topics/calc/settings');
    await page.getByText('Created', { exact: true }).waitFor();
    for (const name of ['Next offset', 'Oldest message', 'Size']) expect(await page.getByText(name, { exact: true }).count(), name).toBe(0);
    await done();
  });

  it('lists services, and their figures move over the socket alone', async () => {
    await go(page, broker.url, '#/');
    await keys(page, 'g', 'r');
    const services = page.getByRole('grid', { name: 'Services' });
    const mine = services.getByRole('row').filter({ has: page.getByRole('link', { name: 'calc', exact: true }) });
    await mine.waitFor();
    await expect.poll(() => services.getByRole('link').count(), { message: 'a log is no service' }).toBe(1);
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'calc' }).waitFor();
    await row('plus').waitFor();
    await page.getByText('Calculator').first().waitFor();
    await page.getByRole('cell', { name: provider.address }).waitFor();
    const asked = await requests(page);
    for (let i = 0; i < 30; i++) await broker.call('POST', '/rpc/calc/plus', [i, 1]);
    await row('plus').getByText('30', { exact: true }).waitFor();
    await row('plus').getByRole('img', { name: /ms: \d+/ }).waitFor();
    if (!asked.again) expect(asked.list).toEqual([]);
    await accessible(page, 'a service');
    await done();
  });

  it('calls with every digit, and says where the time went', async () => {
    await go(page, broker.url, '#/rpc/calc');
    const exact = '[12345678901234567890, 0.10, "ü", {"n": 9007199254740993}]';
    await call('echo', exact);
    await expect.poll(() => answer().textContent()).toContain('12345678901234567890,\n  0.10,\n  "ü",\n  {\n    "n": 9007199254740993\n  }');
    expect(provider.calls.at(-1)!.raw.replace(/\s/g, '')).toContain(exact.replace(/\s/g, ''));
    expect(await result().textContent()).toMatch(/✓ 200.*in [\d.]+ ms.*queue [\d.]+.*provider [\d.]+.*rest [\d.]+/s);
    const long = JSON.stringify(['x'.repeat(6000)]);
    await call('echo', long);
    await expect.poll(() => provider.calls.at(-1)!.raw.length).toBeGreaterThan(6000);
    await page.getByText('xxxxxxxxxx').last().waitFor();
    expect(await page.getByLabel('Parameters, as JSON').inputValue(), 'too long for an address').toBe(long);
    await call('echo', exact);
    await page.getByText('The same with curl').last().click();
    expect(await page.getByRole('region', { name: 'Try it' }).getByRole('group', { name: 'curl' }).textContent()).toContain(`/api/v1/rpc/calc/echo -H 'Content-Type: application/json' --data-binary '${exact}'`);
    await done();
  });

  it('is reopened from its address, and remembers calls until the page is closed', async () => {
    await go(page, broker.url, '#/rpc/calc');
    await call('plus', '[1, 2]');
    await answer().getByText('3').waitFor();
    await call('plus', '[4, 5]');
    await answer().getByText('9').waitFor();
    const hash = await page.evaluate(() => location.hash);
    expect(new URLSearchParams(hash.split('?')[1]).get('params')).toBe('[4, 5]');
    await page.locator('.history').getByText('[1, 2]').click();
    await answer().getByText('3').waitFor();
    expect(await page.getByLabel('Parameters, as JSON').inputValue()).toBe('[1, 2]');
    const again = await open(browser, broker.url);
    await go(again.page, broker.url, hash);
    await again.page.getByText('Adds two numbers.').last().waitFor();
    expect(await again.page.getByLabel('Method', { exact: true }).inputValue()).toBe('plus');
    expect(await again.page.getByLabel('Parameters, as JSON').inputValue()).toBe('[4, 5]');
    again.clean();
    await again.context.close();
    await done();
  });

  it('knows what a method takes, and refuses what is no JSON before it is sent', async () => {
    await go(page, broker.url, '#/rpc/calc');
    await row('div').click();
    expect(await page.getByLabel('Method', { exact: true }).inputValue()).toBe('div');
    await page.getByText('not 0').waitFor();
    await page.getByLabel('Method', { exact: true }).fill('plus');
    await page.getByRole('button', { name: 'Fill in an example' }).click();
    expect(JSON.parse(await page.getByLabel('Parameters, as JSON').inputValue())).toEqual([0, 2]);
    const before = provider.calls.length;
    await page.getByLabel('Parameters, as JSON').fill('[1, 2');
    await page.getByText('not JSON: line 1, column 6').waitFor();
    expect(await page.getByRole('button', { name: 'Call', exact: true }).isDisabled()).toBe(true);
    await page.getByLabel('Parameters, as JSON').fill('12');
    await page.getByText('must be an array of parameters').waitFor();
    await page.getByLabel('Parameters, as JSON').press('Control+Enter');
    expect(provider.calls.length).toBe(before);
    await done();
  });

  it('says what became of calls that failed, and whether they ran', async () => {
    await go(page, broker.url, '#/rpc/calc');
    await call('div', '[1, 0]');
    await page.getByText('It ran, and the service answered with an error.').waitFor();
    expect(await result().textContent()).toContain('division by zero');
    await row('div').getByText('answered with status 500').waitFor();
    await call('text', '[]');
    await page.getByText('It ran, and the service answered something else than JSON.').waitFor();
    await page.getByLabel('Timeout, ms').fill('100');
    await call('never', '[]');
    await page.getByText('No answer came in time: it may have run.').waitFor();
    await page.getByRole('cell', { name: '▲ 1' }).waitFor(); // overdue
    provider.close();
    await page.getByText('no provider', { exact: false }).first().waitFor();
    await call('plus', '[1, 1]');
    await page.getByText('It did not run: no provider took it.').waitFor();
    await expect.poll(() => page.locator('.history li').count()).toBe(4);
    await done();
  });

  it('counts the errors of a Go service as errors, also those that old callers get with status 200', async () => {
    // It runs a command for each call, by the Go client: what the command says of an error is a CallError of that.
    const command = `case $ZBUS_METHOD in price) echo 42;; *) echo '{"error":"no such region","status":404}'; exit 1;; esac`;
    const service = spawn(binary(), ['serve-rpc', 'go-shop', '--exec', command, '--server', new URL(broker.url).host], { stdio: 'ignore' });
    try {
      const post = async (method: string) => (await fetch(`${broker.url}/api/v1/rpc/go-shop/${method}`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '[]' })).status;
      const figures = () => broker.call<{ providers: unknown[]; calls: { total: string; failed: string } }>('GET', '/rpc/go-shop');
      await expect.poll(async () => (await figures().catch(() => undefined))?.providers.length, { timeout: 45_000 }).toBe(1);
      expect([await post('price'), await post('tax')]).toEqual([200, 404]);
      for (let i = 0; i < 2; i++) {
        const { status, body } = await oldCall(broker, 'go-shop', 'tax', []);
        expect([status, JSON.parse(body).error.message ?? JSON.parse(body).error]).toEqual([200, 'no such region']);
      }
      expect(await post('price')).toBe(200);
      await expect.poll(async () => (await figures()).calls).toMatchObject({ total: '5', failed: '3' });
      await go(page, broker.url, '#/rpc');
      const mine = page.getByRole('grid', { name: 'Services' }).getByRole('row').filter({ has: page.getByRole('link', { name: 'go-shop', exact: true }) });
      await mine.getByText('60%', { exact: true }).waitFor();
      await mine.getByText(/no such region|status 404/).waitFor();
      for (const hash of ['#/rpc/go-shop', '#/topics/go-shop']) {
        await page.evaluate((h) => (location.hash = h), hash);
        await page.getByText('60% errors').waitFor();
        for (const [name, part, failed] of [['price', '0%', 0], ['tax', '100%', 1], ['(not told)', '100%', 2]] as const) {
          // Old callers name the method in the body, which the broker does not read.
          const cell = row(name).getByText(part, { exact: true });
          await cell.waitFor();
          expect(await cell.getAttribute('title'), `${hash} ${name}`).toContain(`with a status of 400 or more: ${failed}\n`);
        }
      }
      await expect.poll(async () => (await fetch(`${broker.url}/metrics`)).text()).toContain('zbus_rpc_failed_answers_total{method="tax",topic="go-shop"} 1\n');
    } finally {
      await end(service);
    }
    await done();
  });

  it('gives a call up, and asks for nothing by itself while paused', async () => {
    await go(page, broker.url, '#/rpc/calc');
    await row('plus').waitFor();
    await call('never', '[]');
    await page.getByRole('button', { name: 'Give up' }).click();
    await page.getByRole('button', { name: 'Call', exact: true }).waitFor();
    expect(await result().count()).toBe(0);
    await page.locator('h1').click();
    await page.keyboard.press('p');
    await page.locator('[data-state="paused"]').waitFor();
    const requests: string[] = [];
    page.on('request', (r) => requests.push(r.url()));
    page.on('websocket', (s) => requests.push(s.url()));
    await broker.call('POST', '/rpc/calc/plus', [1, 1]);
    provider.close();
    await page.waitForTimeout(5500); // longer than any interval there is
    expect(requests).toEqual([]);
    await done();
  });
});
