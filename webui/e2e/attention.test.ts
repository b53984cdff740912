// What to look at first: on the overview in the broker's order, and counted on each page.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker } from './broker';
import { accessible, go, launch, open, there, type View } from './browser';

interface Found {
  critical: number;
  warning: number;
  small: number;
  matters: { kind: string; level: string; topic?: string; group?: string }[];
}

describe.skipIf(!there)('what needs attention', () => {
  const broker = new Broker();
  let browser: Browser;
  let view: View;
  let page: Page;
  const found = () => broker.call<Found>('GET', '/attention');

  beforeAll(async () => {
    await broker.start();
    await broker.call('POST', '/topics', { name: 'orders' });
    await broker.call('POST', '/topics', { name: 'pricing', kind: 'rpc' });
    await broker.call('POST', '/topics/orders/groups', { name: 'europe', filter: 'ap.*', start: 'earliest' });
    await broker.call('POST', '/topics/orders/groups', { name: 'fragile', settle: 'explicit', maxDeliver: 1, start: 'earliest' });
    await broker.publish('orders', Array.from({ length: 1500 }, (_, i) => ({ tag: i % 2 ? 'us.ca' : 'eu.de', body: 'x' })));
    const handles = (await broker.pull('orders', 'fragile', 3)).map((d) => d.handle);
    await broker.call('POST', '/topics/orders/groups/fragile:nack', { handles });
    browser = await launch();
    view = await open(browser, broker.url);
    page = view.page;
  });
  afterAll(async () => {
    await browser?.close();
    await broker.close();
  });

  it('is listed by harm, the small ones folded', async () => {
    await expect.poll(async () => (await found()).matters.map((m) => m.kind).sort(), { timeout: 45_000 }).toEqual(['dead-letters', 'unconsumed', 'unmatched', 'unprovided']);
    await go(page, broker.url, '#/');
    const list = page.getByRole('region', { name: 'Needs attention' });
    await list.getByText('the filter lets none of the last 1,500 messages through').waitFor();
    // How bad each is changes by itself, and their order with it: for what the page shows there is a moment at which it is so.
    await expect.poll(async () => {
      const { matters } = await found();
      const shown = await list.locator('li').evaluateAll((all) => all.map((e) => (e as HTMLElement).dataset.kind));
      return { same: shown.join() === matters.map((m) => m.kind).join(), last: matters.at(-1) };
    }).toMatchObject({ same: true, last: { kind: 'unprovided', level: 'small' } });
    const folded = list.getByText('nobody answers; there are no calls');
    expect(await folded.isVisible()).toBe(false);
    await list.getByText('1 small matter').click();
    await folded.waitFor();
    await accessible(page, 'what needs attention');
    view.clean();
  });

  it('is counted on every page, and the count leads to the list', async () => {
    for (const hash of ['#/topics', '#/topics/orders', '#/topics/orders/groups/europe', '#/rpc', '#/audit', '#/settings']) {
      await go(page, broker.url, hash);
      await expect.poll(async () => {
        const { critical, warning } = await found();
        return page.getByRole('link', { name: 'Needs attention' }).getByText(String(critical + warning), { exact: true }).count();
      }, { message: hash }).toBe(1);
    }
    await page.getByRole('link', { name: 'Needs attention' }).click();
    await expect.poll(() => page.evaluate(() => document.activeElement?.getAttribute('aria-label'))).toBe('Needs attention');
    view.clean();
  });

  it('leads to what helps, and is gone when that was done', async () => {
    await go(page, broker.url, '#/');
    await page.getByRole('link', { name: 'Try another filter' }).click();
    await page.getByLabel('New filter').waitFor();
    expect(await page.evaluate(() => location.hash)).toBe('#/topics/orders/groups/europe/filter');
    await broker.call('PATCH', '/topics/orders/groups/europe', { filter: 'eu.*' });
    await page.evaluate(() => (location.hash = '#/'));
    await page.getByRole('link', { name: 'Read the dead letters' }).waitFor();
    await page.getByRole('link', { name: 'Try another filter' }).waitFor({ state: 'detached' });
    view.clean();
  });
});
