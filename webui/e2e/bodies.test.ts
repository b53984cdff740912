// Bodies of any size and coding: the page answers while it shows them, and shows what is there.
import { deflateSync, gzipSync } from 'node:zlib';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker } from './broker';
import { accessible, go, keys, launch, open, there, type View } from './browser';
import { longest } from './tasks';

const mostTask = 200; // milliseconds

describe.skipIf(!there)('bodies', () => {
  const broker = new Broker();
  let browser: Browser;
  let view: View;
  let page: Page;
  const body = () => page.getByRole('group', { name: 'Body', exact: true });
  const show = (name: string) => page.getByRole('group', { name: 'Show the body as' }).getByRole('button', { name, exact: true });
  const publish = async (message: object) => Number(await broker.publish('bodies', [message]));
  const look = async (offset: number) => {
    await page.evaluate((at) => (location.hash = `#/topics/bodies/messages?from=${at}&at=${at}`), offset);
    await page.getByRole('heading', { name: `#${offset}`, exact: true }).waitFor();
  };

  beforeAll(async () => {
    await broker.start();
    await broker.call('POST', '/topics', { name: 'bodies' });
    browser = await launch();
    view = await open(browser, broker.url);
    page = view.page;
    await go(page, broker.url, '#/topics/bodies/messages');
  });
  afterAll(async () => {
    await browser?.close();
    await broker.close();
  });

  it('of 5 MB on one line leave the page responsive', async () => {
    const items = Array.from({ length: 50_000 }, (_, i) => ({ id: i, name: `item ${i}`, text: 'x'.repeat(60) }));
    const json = await publish({ body: JSON.stringify({ items, end: 12345678901234567890n.toString() }) });
    const line = await publish({ body: 'y'.repeat(5_000_000) + 'END' });
    const worst: Record<string, number> = {};
    worst.json = await longest(browser, page, async () => {
      await look(json);
      await show('JSON').waitFor({ timeout: 60_000 });
      await body().getByText('"item 0"').waitFor();
    });
    worst.scroll = await longest(browser, page, async () => {
      await body().focus();
      for (let i = 0; i < 10; i++) await page.keyboard.press('PageDown');
      await page.keyboard.press('End');
      await page.getByRole('button', { name: 'The end' }).click();
      await page.keyboard.press('Tab');
      await body().evaluate((e) => (e.scrollTop = e.scrollHeight));
      await body().getByText('"12345678901234567890"').waitFor();
    });
    worst.hex = await longest(browser, page, async () => {
      await show('Hex').click();
      await body().getByText('00000000  7b 22 69 74').waitFor();
    });
    worst.line = await longest(browser, page, async () => {
      await look(line);
      await show('Text').click();
      await page.getByText('Lines of more than 2,000 letters').waitFor();
      await page.getByRole('button', { name: 'The end' }).click();
      await body().evaluate((e) => (e.scrollTop = e.scrollHeight));
      await body().getByText(/yEND$/).waitFor();
    });
    worst.keys = await longest(browser, page, async () => {
      await page.keyboard.press('Escape');
      await keys(page, 'g', 't');
      await page.getByRole('heading', { name: 'Topics' }).waitFor();
    });
    console.log('longest tasks, ms of processor time:', JSON.stringify(worst));
    expect(await page.evaluate(() => document.querySelectorAll('*').length)).toBeLessThan(3000);
    for (const [what, ms] of Object.entries(worst)) expect(ms, what).toBeLessThan(mostTask);
    view.clean();
  });

  it('that are encoded are decoded, and can be seen as they are stored', async () => {
    for (const [encoding, pack] of [['gzip', gzipSync], ['deflate', deflateSync]] as const) {
      const bytes = pack('{"order":12345678901234567890}');
      await look(await publish({ headers: { 'content-encoding': encoding }, bodyBase64: bytes.toString('base64') }));
      await page.getByText(`${encoding}: ${bytes.length} B stored, 30 B decoded`).waitFor();
      await body().getByText('12345678901234567890').waitFor();
      await show('Decoded').click();
      await body().getByText(`00000000  ${bytes.subarray(0, 4).toString('hex').replace(/..(?=.)/g, '$& ')}`).waitFor();
    }
    await look(await publish({ headers: { 'content-encoding': 'gzip' }, body: 'not packed' }));
    await page.getByText('The header says gzip, which is not what the body is').waitFor();
    await body().getByText('not packed').waitFor();
    await look(await publish({ headers: { 'content-encoding': 'gzip' }, bodyBase64: gzipSync(Buffer.alloc(40_000_000, 0x61)).toString('base64') }));
    await page.getByText('only the first 16 MiB are shown').waitFor();
    await accessible(page, 'a large body');
    view.clean();
  });

  it('show what can not be seen, and what turns text around', async () => {
    await look(await publish({ tag: 'eu.de', headers: { note: 'a\u202eb' }, body: 'pay \u202e001\u202c to\u0000 \u200bme' }));
    await body().getByText(/^pay .*me$/).waitFor(); // the message before stays until this one has come
    expect(await body().textContent()).toBe('pay ⟨202E⟩001⟨202C⟩ to⟨0000⟩ ⟨200B⟩me');
    await page.locator('.headers').getByText('a⟨202E⟩b').waitFor();
    view.clean();
  });
});
