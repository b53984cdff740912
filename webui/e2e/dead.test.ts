// Dead letters by group and cause: back to where they died, dropped, edited.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Broker } from './broker';
import { accessible, go, launch, open, resize, there, type View } from './browser';

interface Whole {
  id: string;
  tag?: string;
  headers: Record<string, string>;
  body?: string;
}

describe.skipIf(!there)('dead letters', () => {
  const broker = new Broker();
  let browser: Browser;
  let view: View;
  let page: Page;
  let topic = '';
  let made = 0;
  const causes = ['HTTP 503', 'HTTP 502', 'no such customer'];

  beforeAll(async () => {
    await broker.start();
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    await broker.close();
  });
  // Six messages die: four of a service that fails, two of a customer that is not there.
  beforeEach(async () => {
    topic = `orders-${++made}`;
    await broker.call('POST', '/topics', { name: topic });
    await broker.call('POST', `/topics/${topic}/groups`, { name: 'billing', settle: 'explicit', maxDeliver: 5, ackTimeout: 600_000 });
    await broker.call('POST', `/topics/${topic}/groups`, { name: 'archive' });
    await broker.publish(topic, Array.from({ length: 6 }, (_, i) => ({ id: `m-${i}`, tag: 'eu.paid', headers: { customer: `c${i}` }, body: `{"n":${i}}` })));
    const { deliveries } = await broker.call<{ deliveries: { handle: string }[] }>('POST', `/topics/${topic}/groups/billing:pull`, { max: 6, timeout: 15_000 });
    for (const [i, d] of deliveries.entries()) await broker.call('POST', `/topics/${topic}/groups/billing:nack`, { handles: [d.handle], dead: true, reason: causes[i % 3] });
    await expect.poll(waiting).toBe('6');
    view = await open(browser, broker.url);
    page = view.page;
  });
  const waiting = async () => (await broker.call<{ waiting: string }>('GET', `/topics/${topic}.dead/dead-letters`).catch(() => ({ waiting: '' }))).waiting;
  const depth = async () => (await broker.call<{ depth: string }>('GET', `/topics/${topic}`)).depth;
  const one = (offset: number) => broker.call<Whole>('GET', `/topics/${topic}/messages/${offset}`);
  const done = async () => {
    view.clean();
    await view.context.close();
  };
  const kinds = () => page.getByRole('region', { name: 'Dead letters' });

  it('lead from the topic to their causes and back to the topic, with who else gets them', async () => {
    await go(page, broker.url, `#/topics/${topic}`);
    await page.getByRole('link', { name: '≈ 6 dead letters' }).click();
    await kinds().getByRole('link', { name: 'HTTP #' }).waitFor();
    expect(await kinds().getByRole('row').filter({ hasText: 'HTTP #' }).textContent()).toMatch(/billing.*HTTP #.*4/);
    await kinds().getByRole('link', { name: 'HTTP #' }).click();
    await kinds().getByRole('button', { name: 'Send back all 4 that match…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Send dead letters back' });
    await dialog.getByText(`4 dead letters go back to ${topic}`).waitFor();
    await dialog.getByText('Also reaches: archive').waitFor();
    await accessible(page, 'sending back');
    expect(await waiting(), 'a look changes nothing').toBe('6');
    await dialog.getByLabel('At most so many a second').fill('2');
    await page.keyboard.press('Enter');
    await dialog.getByText('4 went back in all.').waitFor();
    await dialog.getByRole('button', { name: 'Close' }).last().click();
    await expect.poll(depth).toBe('10');
    await expect.poll(waiting).toBe('2');
    const back = await one(6);
    expect(back).toMatchObject({ id: 'm-0', tag: 'eu.paid', headers: { customer: 'c0' }, body: '{"n":0}' });
    expect(Object.keys(back.headers).filter((h) => h.startsWith('dead-'))).toEqual([]);
    await page.getByRole('link', { name: 'Show all' }).click();
    await kinds().getByText('2 wait').waitFor();
    expect(await kinds().getByRole('link', { name: 'HTTP #' }).count()).toBe(0);
    await done();
  });

  it('go back one by one, edited, or are dropped, each only when it was chosen', async () => {
    await go(page, broker.url, `#/topics/${topic}.dead`);
    await page.getByLabel('Select #2').check();
    await page.getByRole('button', { name: 'Edit and send back…' }).click();
    const edit = page.getByRole('dialog', { name: 'Edit and send back' });
    await edit.getByText(`It goes back to ${topic}`).waitFor();
    await edit.getByLabel('Body').fill('{"n":"mended"}');
    await edit.getByLabel('Tag').fill('eu.mended');
    await edit.getByRole('button', { name: 'Send back' }).click();
    await edit.getByText('1 went back.').waitFor();
    await edit.getByRole('button', { name: 'Close' }).last().click();
    expect(await one(6)).toMatchObject({ id: 'm-2', tag: 'eu.mended', headers: { customer: 'c2' }, body: '{"n":"mended"}' });
    await page.getByLabel('Select #2').waitFor({ state: 'detached' });
    await page.getByLabel('Select #0').check();
    await page.getByLabel('Select #5').check();
    await page.getByRole('button', { name: 'Drop those selected…' }).click();
    const drop = page.getByRole('dialog', { name: 'Drop dead letters' });
    await drop.getByText('2 dead letters are dropped').waitFor();
    await drop.getByRole('button', { name: 'Drop', exact: true }).click();
    await drop.getByText('2 were dropped.').waitFor();
    await drop.getByRole('button', { name: 'Close' }).last().click();
    await expect.poll(waiting).toBe('3');
    expect(await depth()).toBe('7');
    await page.getByLabel('Text in body, id or tag').fill('"n":4');
    await page.keyboard.press('Enter');
    await page.getByLabel('Select #4').waitFor();
    await page.getByLabel('Select #1').waitFor({ state: 'detached' });
    await done();
  });

  it('are sent back by keys alone', async () => {
    await go(page, broker.url, '#/');
    let pressed = 0;
    const press = async (...names: string[]) => {
      for (const name of names) await page.keyboard.press(name);
      pressed += names.length;
    };
    await press('Control+k');
    await page.keyboard.type(`${topic}.dead`);
    await press('Enter');
    const button = page.getByRole('button', { name: 'Send back all…' });
    await button.waitFor();
    await press('/');
    for (let i = 0; i < 30 && !(await button.evaluate((e) => e === document.activeElement)); i++) await press('Tab');
    await press('Enter');
    await page.getByRole('dialog').getByText(`6 dead letters go back to ${topic}`).waitFor();
    await press('Enter');
    await page.getByText('6 went back in all.').waitFor();
    await press('Escape');
    await kinds().getByText('Nothing waits here.').waitFor();
    console.log(`send all dead letters back: ${pressed} keys, and the name`);
    expect(pressed).toBeLessThanOrEqual(11);
    expect(await depth()).toBe('12');
    await done();
  });

  it('are in Chinese, narrow and dark as well', async () => {
    await view.context.close();
    view = await open(browser, broker.url, { language: 'zh-CN', width: 390, theme: 'dark' });
    page = view.page;
    await go(page, broker.url, `#/topics/${topic}.dead`);
    await page.getByRole('button', { name: '送回全部…' }).waitFor();
    await accessible(page, 'dead letters in Chinese');
    for (const width of [390, 1280, 1920]) {
      await resize(page, { width });
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect(over, `${width} px`).toBeLessThanOrEqual(0);
      if (process.env.LOOK) await page.screenshot({ path: `${process.env.LOOK}/dead-zh-${width}.png`, fullPage: true });
    }
    if (process.env.LOOK) {
      view = await open(browser, broker.url);
      await go(view.page, broker.url, `#/topics/${topic}.dead`);
      await view.page.getByLabel('Select #1').check();
      for (const width of [390, 1280, 1920]) {
        await resize(view.page, { width });
        await view.page.screenshot({ path: `${process.env.LOOK}/dead-en-${width}.png`, fullPage: true });
      }
      await view.page.getByRole('button', { name: 'Edit and send back…' }).click();
      await view.page.getByText('Also reaches').waitFor();
      await view.page.screenshot({ path: `${process.env.LOOK}/dead-edit.png` });
    }
    await done();
  });
});
