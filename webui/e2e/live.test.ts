// What is live: figures without reload, pause, loss and return, tail, sessions, keys.
import { connect } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Broker } from './broker';
import { accessible, go, keys, launch, open, requests, there, type View } from './browser';

describe.skipIf(!there)('live', () => {
  const broker = new Broker();
  let browser: Browser;
  let view: View;
  let page: Page;

  beforeAll(async () => {
    await broker.start();
    await broker.call('POST', '/topics', { name: 'orders' });
    await broker.call('POST', '/topics/orders/groups', { name: 'billing', start: 'earliest' });
    await broker.call('POST', '/topics', { name: 'audit' });
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    await broker.close();
  });
  beforeEach(async () => {
    view = await open(browser, broker.url, { allow: /WebSocket|ERR_CONNECTION_REFUSED/ });
    page = view.page;
  });
  const done = async () => {
    view.clean();
    await view.context.close();
  };
  const row = (name: string) => page.getByRole('row').filter({ has: page.getByRole('link', { name, exact: true }) });

  it('figures move without a reload, over one socket and no requests', async () => {
    const past = page.waitForResponse(/\/stats\/topics$/); // what was before the page is asked for once
    await go(page, broker.url, '#/topics');
    await page.locator('[data-state="live"]').waitFor();
    await row('orders').waitFor();
    await past;
    const asked = await requests(page);
    await broker.publish('orders', Array.from({ length: 123 }, () => ({ body: 'x' })));
    await row('orders').getByText('123', { exact: true }).first().waitFor();
    if (!asked.again) expect(asked.list).toEqual([]);
    await done();
  });

  it('nothing comes by itself while paused, and it goes on after that', async () => {
    await go(page, broker.url, '#/topics');
    await row('orders').waitFor();
    await page.keyboard.press('p');
    await page.locator('[data-state="paused"]').waitFor();
    const asked = await requests(page);
    const shown = await row('orders').textContent();
    await broker.publish('orders', [{ body: 'y' }, { body: 'z' }]);
    await page.waitForTimeout(6500); // longer than any interval there is
    expect(asked).toEqual({ list: [], again: 0 });
    expect(await row('orders').textContent()).toBe(shown);
    await page.keyboard.press('p');
    await row('orders').getByText('125', { exact: true }).first().waitFor();
    await done();
  });

  it('says when the broker is gone, and comes back by itself', async () => {
    await go(page, broker.url, '#/topics');
    await row('orders').waitFor();
    await broker.stop();
    await page.locator('[data-state="lost"]').waitFor();
    await row('orders').waitFor(); // what was known stays
    await broker.start();
    await page.locator('[data-state="live"]').waitFor({ timeout: 90_000 });
    await broker.publish('orders', [{ body: 'again' }]);
    await row('orders').getByText('126', { exact: true }).first().waitFor();
    await done();
  });

  it('says why it asks every five seconds, and what would help', async () => {
    await page.routeWebSocket(/\/ws$/, (socket) => socket.close());
    await go(page, broker.url, '#/topics');
    await page.locator('[data-state="polling"]').waitFor({ timeout: 90_000 });
    await page.getByText('No WebSocket gets through').waitFor();
    await page.getByText('A proxy on the way has to pass Upgrade on.').waitFor();
    await row('orders').waitFor();
    await accessible(page, 'polling');
    await page.route('**/api/v1/server', async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, json: { ...(await answer.json()), address: 'inside:15555' } });
    });
    await page.getByText(`start it with --public-url ${broker.url}.`).waitFor();
    await page.unrouteAll({ behavior: 'wait' }); // or the next one has no page any more to give its answer to
    await done();
  });

  it('asks again for what got no answer, once the broker is back', async () => {
    const places: [string, string][] = [
      ['#/topics/orders/messages', '[role=row][id]'],
      ['#/topics/orders/messages?at=1', '.inspector pre'],
      ['#/topics/orders/settings', '.tags .num'],
      ['#/topics/orders/groups/billing/journal', 'tbody .mono'],
      ['#/audit', '[role=row][id]'],
      ['#/servers', '.cards dl'],
    ];
    const tabs: Page[] = [];
    for (const _ of places) {
      const tab = await view.context.newPage();
      await go(tab, broker.url, '#/settings');
      await tab.locator('select').first().waitFor();
      // The figures of the group are there already, its journal is not.
      tabs.push(tab);
    }
    await tabs[3]!.evaluate(() => (location.hash = '#/topics/orders/groups/billing'));
    await tabs[3]!.getByRole('slider').or(tabs[3]!.getByText('The log is empty')).first().waitFor();
    await broker.stop();
    for (const [i, [hash]] of places.entries()) {
      await tabs[i]!.locator('[data-state="lost"]').waitFor();
      await tabs[i]!.evaluate((h) => (location.hash = h), hash);
      await tabs[i]!.locator('.bad').getByText('The broker did not answer.').first().waitFor();
    }
    await broker.start();
    for (const [i, [hash, ready]] of places.entries()) {
      await tabs[i]!.locator(ready).first().waitFor({ timeout: 90_000 });
      await expect.poll(() => tabs[i]!.getByText('did not answer').count(), { message: hash }).toBe(0);
    }
    await done();
  });

  it('counts connections on one page as on the other', async () => {
    const sockets = await Promise.all([1, 2, 3].map(() => new Promise<ReturnType<typeof connect>>((there) => {
      const s = connect(Number(new URL(broker.url).port), '127.0.0.1', () => there(s));
      s.write('GET / HTTP/1.1\r\ncmd: consume\r\ntopic: orders\r\nconsume_group: billing\r\nwindow: 1\r\nid: 1\r\n\r\n');
      s.resume();
    })));
    await go(page, broker.url, '#/sessions');
    const said = page.getByText(/connections?, \d+ of them for HTTP requests alone/);
    await said.waitFor();
    const [, total, all, alone] = /of (\d+) · (\d+) connections?, (\d+) of them/.exec((await said.textContent())!)!.map(Number);
    expect(total! + alone!).toBe(all);
    for (const s of sockets) s.destroy();
    await expect.poll(() => page.getByText('orders/billing').count()).toBe(0);
    await done();
  });

  it('tail shows what comes, and says how much a burst did not show', async () => {
    await go(page, broker.url, '#/topics/audit/messages?tail=1');
    await page.getByText('Waiting for the next message…').waitFor();
    await broker.publish('audit', [{ tag: 'login', body: 'first of all' }]);
    await page.getByText('first of all').waitFor();
    await page.getByRole('button', { name: 'Hold' }).click();
    await broker.publish('audit', [{ tag: 'login', body: 'while held' }]);
    await page.getByText('1 new since').waitFor();
    expect(await page.getByText('while held').count()).toBe(0);
    await page.getByRole('button', { name: 'Go on', exact: true }).last().click();
    await page.getByText('while held').waitFor();
    await broker.publish('audit', Array.from({ length: 10_000 }, (_, i) => ({ body: `burst ${i}` })));
    await page.getByText(/not shown \(view only\)/).waitFor();
    await done();
  });

  it('disconnects a client, which is gone from the list then', async () => {
    const socket = connect(Number(new URL(broker.url).port), '127.0.0.1');
    const closed = new Promise((gone) => socket.once('close', gone));
    socket.write('GET / HTTP/1.1\r\ncmd: consume\r\ntopic: orders\r\nconsume_group: billing\r\nwindow: 1\r\nid: 1\r\n\r\n');
    socket.resume();
    await go(page, broker.url, '#/sessions');
    const mine = page.getByRole('row').filter({ hasText: 'orders/billing' });
    await mine.getByRole('button', { name: 'Disconnect…' }).click();
    await page.getByLabel('Reason').fill('test of the console');
    await page.getByRole('button', { name: 'Disconnect', exact: true }).click();
    await closed;
    await mine.waitFor({ state: 'detached' });
    await done();
  });

  it('is used with the keyboard alone', async () => {
    await go(page, broker.url, '#/');
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to the page');
    await keys(page, 'g', 't');
    await page.getByRole('heading', { name: 'Topics', exact: true }).waitFor(); // the first page has a row audit, too
    await row('audit').waitFor();
    await page.keyboard.press('j');
    await page.keyboard.press('j');
    await page.keyboard.press('k');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'audit' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('heading', { name: 'Topics' }).waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('ord');
    await page.getByText('1 of 2').waitFor();
    await page.keyboard.press('Escape');
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keys and about' }).waitFor();
    await accessible(page, 'help');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Control+k');
    await page.keyboard.type('orders#5');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: '#5', exact: true }).waitFor();
    await page.keyboard.press('3');
    await page.getByRole('heading', { name: 'Retention' }).waitFor();
    await page.keyboard.press('2');
    await page.getByRole('grid', { name: 'Groups' }).waitFor();
    await page.keyboard.press('1');
    await page.getByRole('grid', { name: 'Messages' }).waitFor();
    await done();
  });

  it('gives the palette what was typed while its code was still on the way', async () => {
    await go(page, broker.url, '#/');
    let arrive = () => {};
    const held = new Promise<void>((resolve) => (arrive = resolve));
    await page.route(/all.*\.js/, async (route) => {
      await held;
      await route.continue();
    });
    const asked = page.waitForRequest(/all.*\.js/);
    await page.keyboard.press('Control+k');
    await asked;
    await page.keyboard.type('orders#55');
    await page.keyboard.press('Backspace');
    await page.keyboard.press('Enter');
    arrive();
    await page.getByRole('heading', { name: '#5', exact: true }).waitFor();
    await page.locator('[data-state="live"]').waitFor(); // the p of no key was taken for a pause
    await done();
  });

  it('opens the palette for keys that are faster than the end of another dialog', async () => {
    await go(page, broker.url, '#/');
    for (const name of ['Keys and about', 'Find']) {
      await page.keyboard.press(name === 'Find' ? 'Control+k' : '?');
      await page.getByRole('dialog', { name }).waitFor();
      // Closed by the browser, whose event of it comes after the key.
      await page.evaluate(async () => {
        const dialog = document.querySelector<HTMLDialogElement>('dialog[open]')!;
        const over = new Promise((resolve) => dialog.addEventListener('close', resolve));
        dialog.dispatchEvent(new Event('cancel', { cancelable: true }));
        if (dialog.open) dialog.close();
        await Promise.resolve();
        window.dispatchEvent(new KeyboardEvent('keydown', { key: 'k', ctrlKey: true }));
        await over;
      });
      expect(await page.getByRole('dialog', { name: 'Find' }).isVisible()).toBe(true);
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
    }
    await done();
  });

  it('shows times in UTC or here, and remembers which', async () => {
    await go(page, broker.url, '#/topics/orders/messages?from=0&at=0');
    const time = page.locator('.inspector dd').first();
    await time.waitFor();
    const local = await time.textContent();
    await page.getByRole('button', { name: 'Local' }).click();
    await page.getByRole('button', { name: 'UTC' }).waitFor();
    const utc = (await time.textContent())!;
    const [there, then] = [local!, utc].map((text) => Date.parse(`${text.replace(' ', 'T')}Z`)) as [number, number];
    expect(there - then).toBe(-60_000 * (await page.evaluate((then) => new Date(then).getTimezoneOffset(), then))); // an hour, or two in summer
    expect(there).toBeGreaterThan(then);
    await page.reload();
    await page.getByRole('button', { name: 'UTC' }).waitFor();
    expect(await time.textContent()).toBe(utc);
    await done();
  });
});
