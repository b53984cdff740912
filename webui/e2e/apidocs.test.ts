// The documentation of the API: its examples name the broker that has sent it, and its forms ask that broker.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker } from './broker';
import { accessible, launch, open, there, type View } from './browser';

describe.skipIf(!there)('the documentation of the API', () => {
  const broker = new Broker();
  let browser: Browser;
  let view: View;
  let page: Page;
  const tried = async (operation: string) => {
    const article = page.locator(`article#${operation}`);
    await article.getByText('Try it', { exact: true }).click();
    return article;
  };

  beforeAll(async () => {
    await broker.start();
    browser = await launch();
    view = await open(browser, broker.url, { allow: /409/ });
    page = view.page;
    await page.goto(`${broker.url}/api/docs`);
  });
  afterAll(async () => {
    await browser?.close();
    await broker.close();
  });

  it('shows examples for this broker', async () => {
    await page.locator('article#createTopic pre.example').getByText(`'${broker.url}/api/v1/topics'`).waitFor();
  });

  it('tries an operation with a body, and one with parameters', async () => {
    const create = await tried('createTopic');
    await create.getByRole('button').click();
    await create.getByText('201 Created').waitFor();
    await create.locator('pre.answer').getByText('"name": "orders"').waitFor();
    expect(await broker.call<{ name: string }>('GET', '/topics/orders')).toMatchObject({ name: 'orders', kind: 'log' });
    await create.getByRole('button').click();
    await create.getByText('409 Conflict').waitFor();

    const get = await tried('getTopic');
    expect(await get.getByLabel('topic').inputValue()).toBe('orders');
    await get.getByRole('button').click();
    await get.getByText('200 OK').waitFor();
  });

  it('shows what comes as text, and stops what does not end', async () => {
    await broker.publish('orders', [{ body: '<img src=x onerror=alert(1)>' }]);
    const events = await tried('streamEvents');
    await events.getByLabel('topic').fill('orders');
    await events.getByLabel('Last-Event-ID').fill('-1');
    await events.getByRole('button').click();
    await events.locator('pre.answer').getByText('onerror=alert(1)').waitFor();
    await events.getByRole('button', { name: 'Stop' }).click();
    await events.getByText('stopped', { exact: true }).waitFor();

    const message = await tried('getMessage');
    await message.getByRole('button').click();
    await message.locator('pre.answer').getByText('<img src=x').waitFor();
    expect(await page.locator('img').count()).toBe(0);
  });

  it('can be used by everybody, and keeps to its policy', async () => {
    await accessible(page, 'the documentation');
    view.clean();
  });
});
