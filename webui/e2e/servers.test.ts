// Several servers: the map, the matrix, what a client would pick, draining, and one that is killed.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker, port } from './broker';
import { accessible, go, launch, open, resize, there, type View } from './browser';

const { SHOTS: shots } = process.env;

describe.skipIf(!there)('servers', () => {
  let brokers: Broker[];
  let addresses: string[];
  let browser: Browser;
  let view: View;
  let page: Page;

  beforeAll(async () => {
    const ports = [await port(), await port()];
    addresses = ports.map((p) => `127.0.0.1:${p}`);
    brokers = addresses.map((a) => new Broker(a));
    for (const b of brokers) await b.start('--tracker', addresses.join(';'), '--broadcast-interval', '1s');
    for (const b of brokers) {
      await b.call('POST', '/topics', { name: 'orders' });
      await b.call('POST', '/topics/orders/groups', { name: 'billing', start: 'earliest' });
    }
    await brokers[0]!.call('POST', '/topics', { name: 'letters' });
    await brokers[1]!.call('POST', '/topics', { name: 'stock' });
    await brokers[1]!.publish('orders', Array.from({ length: 2500 }, () => ({ body: 'x' })));
    for (const b of brokers)
      for (;;) {
        const { servers } = await b.call<{ servers: { state: string; topics?: number }[] }>('GET', '/servers');
        if (servers.length === 2 && servers.every((s) => s.state === 'up' && s.topics === 2)) break;
        await new Promise((r) => setTimeout(r, 50));
      }
    browser = await launch();
    view = await open(browser, brokers[0]!.url, { allow: /ERR_CONNECTION_REFUSED/ });
    page = view.page;
    await go(page, brokers[0]!.url, '#/servers');
    await page.locator('.cards section').nth(1).waitFor();
  });
  afterAll(async () => {
    await browser?.close();
    for (const b of brokers) await b.close();
  });
  const card = (i: number) => page.locator('.cards section').filter({ has: page.getByRole('heading', { name: addresses[i]!, exact: true }) });
  const row = (topic: string) => page.getByRole('row').filter({ has: page.getByRole('rowheader', { name: topic, exact: true }) });
  const shoot = async (name: string) => {
    for (const width of [390, 1280])
      for (const theme of ['light', 'dark'] as const) {
        await resize(page, { width, theme });
        expect(await page.evaluate(() => document.documentElement.scrollWidth), `${name} at ${width} px`).toBeLessThanOrEqual(width);
        await accessible(page, `${name}, ${theme}, ${width} px`);
        if (!shots) continue;
        mkdirSync(shots, { recursive: true });
        await page.screenshot({ path: join(shots, `${name}-${theme}-${width}.png`), fullPage: true });
      }
  };

  it('shows who joins whom, what is where, and what a client would pick', async () => {
    const map = page.getByRole('img', { name: `${addresses[0]} joins ${addresses.join(', ')}` });
    await map.waitFor();
    expect(await map.getAttribute('aria-label')).toContain(`${addresses[1]} joins`);
    await card(1).getByText('● up').waitFor();
    // What the other one has and does, on its card and in the map.
    await card(1).getByText('2,500 (').waitFor();
    await card(1).getByText(/ free/).waitFor();
    await card(1).getByText('0/s in, 0/s out').waitFor();
    await map.getByText(/^[\d.]+k?\/s in, .* free$/).nth(1).waitFor();
    expect(await card(1).getByRole('link').getAttribute('href')).toBe(`http://${addresses[1]}/ui/#/servers`);
    await row('orders').getByText('2,500', { exact: true }).waitFor();
    // The other server lags more.
    await expect.poll(() => row('orders').locator('.pick').textContent()).toContain(`${addresses[0]}because of those with 0 consumers it lags least: 0`);
    await expect.poll(() => row('stock').locator('.pick').textContent()).toContain(`${addresses[1]}because no other server that is up has the topic`);
    await shoot('servers-two');
  });

  it('drains the other server after a question that names it, and ends that', async () => {
    await page.setViewportSize({ width: 1280, height: 800 });
    await card(1).getByRole('button', { name: 'Drain…' }).click();
    const dialog = page.getByRole('dialog');
    expect(await dialog.getByRole('heading').textContent()).toBe(`Drain ${addresses[1]}?`);
    await dialog.getByText('1 topic is on no other server that is up: it is served on here.').waitFor();
    await accessible(page, 'the question');
    await dialog.getByRole('button', { name: 'Drain', exact: true }).click();
    await dialog.waitFor({ state: 'detached' });
    await card(1).getByText('● draining').waitFor();
    const { servers } = await brokers[1]!.call<{ servers: { state: string }[] }>('GET', '/servers');
    expect(servers[0]!.state).toBe('draining');
    await row('orders').getByText('because no other server that is up has the topic').waitFor();
    await shoot('servers-draining');
    await page.setViewportSize({ width: 1280, height: 800 });
    await card(1).getByRole('button', { name: 'Undrain…' }).click();
    expect(await dialog.getByRole('heading').textContent()).toBe(`Use ${addresses[1]} again?`);
    await dialog.getByRole('button', { name: 'Undrain', exact: true }).click();
    await card(1).getByText('● up').waitFor();
  });

  it('says on Topics which servers have each', async () => {
    await go(page, brokers[0]!.url, '#/topics');
    const list = page.getByRole('grid');
    await list.getByRole('columnheader', { name: 'Servers' }).waitFor();
    await list.getByRole('row').filter({ hasText: 'orders' }).getByTitle(addresses.toSorted().join(', ')).waitFor();
    await page.getByText('1 topic is on other servers alone').waitFor();
    await go(page, brokers[0]!.url, '#/servers');
  });

  it('shows that the other server is killed while the page is open, and that it is back', async () => {
    await card(1).getByText('● up').waitFor();
    process.kill(brokers[1]!.pid, 'SIGKILL');
    await card(1).getByText('○ not reached').waitFor();
    expect(await card(1).getByRole('button', { name: 'Drain…' }).count()).toBe(0);
    await row('stock').getByText('no server that has the topic is reached').waitFor();
    await shoot('servers-killed');
    await brokers[1]!.start('--tracker', addresses.join(';'), '--broadcast-interval', '1s');
    await card(1).getByText('● up').waitFor();
    view.clean();
  });
});
