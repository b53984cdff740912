// What an operator does each day, by keys alone. Each job counts its keys, those of names
// and texts apart.
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Broker } from './broker';
import { go, launch, open, there, type View } from './browser';

const total = 1000;
const tags = ['eu.de.paid', 'eu.fr.paid', 'us.ca.paid'];

describe.skipIf(!there)('jobs by keys alone', () => {
  const broker = new Broker();
  let browser: Browser;
  let view: View;
  let page: Page;
  let keys = 0;
  let typed = 0;

  beforeAll(async () => {
    await broker.start();
    await broker.call('POST', '/topics', { name: 'orders' });
    await broker.call('POST', '/topics/orders/groups', { name: 'billing', filter: 'eu.*', start: 'earliest' });
    await broker.publish('orders', Array.from({ length: total }, (_, i) => ({ id: `order-${i}`, tag: tags[i % 3], body: `{"n":${i},"name":"customer ${i}"}` })));
    for (let left = 400; left > 0; ) left -= (await broker.pull('orders', 'billing', left)).length;
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    await broker.close();
  });
  beforeEach(async () => {
    view = await open(browser, broker.url);
    page = view.page;
    [keys, typed] = [0, 0];
    await go(page, broker.url, '#/');
    await page.getByRole('heading', { name: 'Overview' }).waitFor({ state: 'attached' });
  });
  const press = async (...names: string[]) => {
    for (const name of names) {
      await page.keyboard.press(name);
      keys++;
    }
  };
  const type = async (text: string) => {
    await page.keyboard.type(text);
    typed += text.length;
  };
  /** to walks there with Tab. */
  const to = async (target: Locator) => {
    await target.waitFor();
    for (let i = 0; i < 30; i++) {
      if (await target.evaluate((e) => e === document.activeElement)) return;
      await press('Tab');
    }
    throw new Error('30 times Tab, and not there');
  };
  const done = async (job: string, most: number) => {
    console.log(`${job}: ${keys} keys, and ${typed} letters`);
    expect(keys, job).toBeLessThanOrEqual(most);
    view.clean();
    await view.context.close();
  };
  const group = () => broker.group('orders', 'billing');

  it('why was this not delivered', async () => {
    await press('Control+k');
    await type('order-302');
    await press('ArrowUp', 'Enter');
    await page.getByText('filtered out by eu.*').waitFor();
    await page.getByText('us.ca.paid').first().waitFor();
    await done('why was this not delivered', 3);
  });

  it('move a group back 30 minutes, and undo', async () => {
    const before = (await group()).cursor;
    await press('Control+k');
    await type('billing');
    await press('Enter');
    await page.getByRole('slider').waitFor();
    await press('/');
    await type('-30m');
    await press('Enter');
    await page.locator('[data-plan="rewind"]').waitFor();
    await expect.poll(() => page.evaluate(() => document.activeElement?.textContent)).toContain('REWIND');
    await to(page.getByLabel('Reason, for the journal'));
    await type('bad deploy');
    await press('Enter');
    await page.getByRole('button', { name: /Undo/ }).waitFor();
    expect((await group()).cursor).toBe('0');
    await press('Escape', 'Control+z');
    await page.getByRole('dialog', { name: 'Undo' }).waitFor();
    await press('Enter');
    await page.getByText('Undone').waitFor();
    expect((await group()).cursor).toBe(before);
    await done('move a group back 30 minutes, and undo', 9);
    expect((await broker.call<{ entries: { reason?: string }[] }>('GET', '/topics/orders/groups/billing/journal')).entries.map((e) => e.reason)).toContain('bad deploy');
  });

  it('change a filter after a dry run', async () => {
    await press('Control+k');
    await type('billing');
    await press('Enter');
    await page.getByRole('slider').waitFor();
    await press('2');
    await page.getByLabel('New filter').waitFor();
    await press('/');
    await type('eu.de.*');
    await page.getByText('keeps').waitFor();
    await expect.poll(async () => page.locator('.diff').first().textContent()).toMatch(/keeps\s*334\s*loses\s*333\s*gains\s*0/);
    expect((await group()).filter, 'a dry run changes nothing').toBe('eu.*');
    await press('Enter');
    await expect.poll(async () => (await group()).filter).toBe('eu.de.*');
    await done('change a filter after a dry run', 5);
  });

  it('find by text', async () => {
    await press('Control+k');
    await type('orders');
    await press('Enter');
    await page.getByLabel('Tag filter').waitFor();
    await press('/', 'Tab');
    await type('customer 777"');
    await press('Enter');
    await page.getByText('1 hit', { exact: false }).waitFor();
    await page.getByText('customer 777').first().waitFor();
    await done('find by text', 5);
  });
});
