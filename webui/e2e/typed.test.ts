// URLs of commands in a browser: typed, and sent by a page of another site.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker } from './broker';
import { accessible, launch, open, there } from './browser';

describe.skipIf(!there)('URLs of commands', () => {
  const broker = new Broker();
  let browser: Browser;
  let evil: Server;
  let html = '';
  let outside = ''; // the broker over plain HTTP under a name that is not this machine's
  let site = ''; // another site

  beforeAll(async () => {
    await broker.start('--public-url', 'http://mq.test');
    await broker.call('POST', '/topics', { name: 'orders' });
    evil = createServer((_, res) => res.setHeader('Content-Type', 'text/html').end(html));
    await new Promise<void>((up) => evil.listen(0, '127.0.0.1', up));
    browser = await launch('--host-resolver-rules=MAP *.test 127.0.0.1');
    outside = `http://mq.test:${new URL(broker.url).port}`;
    site = `http://evil.test:${(evil.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    await browser?.close();
    evil?.close();
    await broker.close();
  });
  const stored = async () => Number((await broker.call<{ nextOffset: string }>('GET', '/topics/orders')).nextOffset);

  it('are done at once where the browser says that they were typed', async () => {
    const before = await stored();
    const { page, context } = await open(browser, broker.url);
    const answer = await page.goto(`${broker.url}/produce/orders?body=typed`);
    expect(answer!.status()).toBe(200);
    expect(await stored()).toBe(before + 1);
    await context.close();
  });

  it('are done by a button, once, where it can not say so', async () => {
    const before = await stored();
    const { page, context } = await open(browser, outside);
    const url = `${outside}/produce/orders?body=typed`;
    await page.goto(url);
    await page.getByText('/produce/orders').first().waitFor();
    expect(await stored(), 'nothing is done before the button is pressed').toBe(before);
    await accessible(page, 'the page of a command');
    const button = page.getByRole('button');
    expect(await button.count()).toBe(1);
    const token = await page.locator('input[name=zbus-once]').inputValue();
    await button.focus();
    await Promise.all([page.waitForEvent('load'), page.keyboard.press('Enter')]);
    expect(await stored()).toBe(before + 1);
    await page.goto(url);
    await page.locator('input[name=zbus-once]').evaluate((input, used) => input.setAttribute('value', used), token);
    const [again] = await Promise.all([page.waitForResponse((r) => r.request().method() === 'POST'), page.getByRole('button').press('Enter')]);
    expect(again.ok(), 'a token is good for one time').toBe(false);
    expect(await stored()).toBe(before + 1);
    await context.close();
  });

  it('do nothing when a page of another site sends them', async () => {
    const before = await stored();
    const { context, page } = await open(browser, site);
    for (const base of [outside, broker.url]) {
      const url = `${base}/produce/orders?body=evil`;
      html = `<!doctype html><img src="${url}"><script src="${url}"></script><link rel="stylesheet" href="${url}"><iframe src="${url}" name="in"></iframe>
        <form method="post" action="${url}" target="in"><input name="zbus-once" value="guess"><button>go</button></form>
        <script>fetch(${JSON.stringify(url)}, { mode: 'no-cors' }).catch(() => 0); fetch(${JSON.stringify(url)}, { mode: 'no-cors', method: 'POST', body: 'x' }).catch(() => 0)</script>`;
      await page.goto(site, { waitUntil: 'networkidle' });
      // The form has been answered, too.
      const posted = page.waitForResponse((r) => r.request().method() === 'POST' && r.request().isNavigationRequest());
      await page.getByRole('button', { name: 'go' }).click();
      await posted;
      expect(await stored(), base).toBe(before);
    }
    await context.close();
  });
});
