// Messages to another topic, exactly as they are; and what differs between two.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Broker } from './broker';
import { accessible, go, launch, open, there, type View } from './browser';

interface Whole {
  offset: string;
  id: string;
  tag?: string;
  key?: string;
  headers: Record<string, string>;
  body?: string;
  bodyBase64?: string;
}

describe.skipIf(!there)('republishing and comparing', () => {
  const broker = new Broker();
  let browser: Browser;
  let view: View;
  let page: Page;
  const total = 1500;
  const long = 'x'.repeat(20_000); // lists cut it off
  const bytes = Buffer.from([0, 255, 1, 65]).toString('base64');

  beforeAll(async () => {
    await broker.start();
    await broker.call('POST', '/topics', { name: 'orders' });
    await broker.call('POST', '/topics/orders/groups', { name: 'eu', filter: 'eu.*', start: 'earliest' });
    await broker.publish('orders', [
      { tag: 'eu.a', key: 'k-1', headers: { lot: '7', 'content-type': 'application/json' }, body: '{"n":12345678901234567890,"same":1}' },
      { tag: 'eu.b', key: 'k-1', headers: { lot: '8', 'content-type': 'application/json' }, body: '{"n":12345678901234567891,"same":1}' },
      { tag: 'us.c', headers: { lot: '9' }, bodyBase64: bytes },
      { tag: 'eu.long', body: long },
    ]);
    await broker.publish('orders', Array.from({ length: total - 4 }, (_, i) => ({ tag: i % 2 ? 'eu.x' : 'us.x', key: `k${i}`, body: `{"i":${i}}` })));
    for (let left = 751; left > 0; ) left -= (await broker.pull('orders', 'eu', left)).length;
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    await broker.close();
  });
  beforeEach(async () => {
    view = await open(browser, broker.url, { allow: /status of 4\d\d|ERR_FAILED/ });
    page = view.page;
  });
  const done = async () => {
    view.clean();
    await view.context.close();
  };
  const one = (topic: string, offset: number) => broker.call<Whole>('GET', `/topics/${topic}/messages/${offset}`);
  const depth = async (topic: string) => Number((await broker.call<{ depth: string }>('GET', `/topics/${topic}`)).depth);
  const facts = ({ tag, key, headers, body, bodyBase64 }: Whole) => ({ tag, key, headers, body, bodyBase64 });
  const dialog = () => page.getByRole('dialog', { name: 'Publish to another topic' });
  const to = async (topic: string) => {
    await broker.call('POST', '/topics', { name: topic });
    await dialog().getByLabel('To topic').fill(topic);
  };

  it('publishes chosen messages by keys, with tag, key, headers and every byte', async () => {
    await go(page, broker.url, '#/topics/orders/messages?dir=next');
    await page.getByText(`of ${total.toLocaleString('en-US')}`).waitFor();
    for (const key of ['j', 'x', 'j', 'j', 'x', 'j', 'x']) await page.keyboard.press(key);
    await page.getByText('3 selected').waitFor();
    await page.getByRole('button', { name: 'To another topic…' }).first().click();
    await to('copies');
    await page.keyboard.press('Enter');
    await dialog().getByText('3 messages were published to copies.').waitFor();
    await accessible(page, 'republishing');
    for (const [at, was] of [[0, 0], [1, 2], [2, 3]] as const) {
      expect(facts(await one('copies', at))).toEqual(facts(await one('orders', was)));
      expect((await one('copies', at)).id).not.toBe((await one('orders', was)).id);
    }
    expect((await one('copies', 1)).bodyBase64).toBe(bytes);
    expect((await one('copies', 2)).body).toBe(long);
    expect(await depth('orders')).toBe(total);
    await done();
  });

  it('publishes what a group would get of a range, from the plan of a move', async () => {
    await go(page, broker.url, '#/topics/orders/groups/eu?to=100');
    await page.locator('[data-plan="rewind"]').waitFor();
    const cursor = (await broker.group('orders', 'eu')).cursor;
    await page.getByRole('button', { name: 'Leave it; publish these to another topic…' }).click();
    await to('replayed');
    await dialog().getByRole('button', { name: 'Publish', exact: true }).click();
    const want = Array.from({ length: Number(cursor) }, (_, i) => i).filter((i) => i >= 100 && i % 2 === 1).length;
    await dialog().getByText(`${want} messages were published to replayed.`).waitFor();
    await dialog().getByText('✓').waitFor();
    expect(await depth('replayed')).toBe(want);
    expect((await one('replayed', 0)).key).toBe((await one('orders', 101)).key);
    expect((await broker.group('orders', 'eu')).cursor, 'the group').toBe(cursor);
    await done();
  });

  it('says how many were done when it stops, and goes on without one twice', async () => {
    await go(page, broker.url, '#/topics/orders/groups/eu?to=0');
    await page.locator('[data-plan="rewind"]').waitFor();
    await page.getByRole('button', { name: 'Leave it; publish these to another topic…' }).click();
    await to('stopped');
    // The first batch is stored, the answer to the second one is lost though it is stored.
    let batches = 0;
    await page.route('**/topics/stopped/messages', async (route) => {
      if (++batches !== 2) return route.continue();
      await route.fetch();
      await route.abort();
    });
    await dialog().getByRole('button', { name: 'Publish', exact: true }).click();
    await dialog().getByRole('alert').waitFor();
    const first = Number(await dialog().locator('[data-done]').getAttribute('data-done'));
    expect(first).toBeGreaterThan(0);
    await dialog().getByText('Stopped.').waitFor();
    expect(await depth('stopped')).toBeGreaterThan(first);
    await dialog().getByRole('button', { name: 'Go on' }).click();
    await dialog().getByText('✓').waitFor();
    const cursor = Number((await broker.group('orders', 'eu')).cursor);
    const tags = new Map<number, string>([[0, 'eu.a'], [1, 'eu.b'], [2, 'us.c'], [3, 'eu.long']]);
    const want = Array.from({ length: cursor }, (_, i) => tags.get(i) ?? ((i - 4) % 2 ? 'eu.x' : 'us.x')).filter((tag) => tag.startsWith('eu.')).length;
    expect(await depth('stopped')).toBe(want);
    await done();
  });

  it('stops at once when it is told to', async () => {
    await go(page, broker.url, '#/topics/orders/groups/eu?to=0');
    await page.locator('[data-plan="rewind"]').waitFor();
    await page.getByRole('button', { name: 'Leave it; publish these to another topic…' }).click();
    await to('halted');
    let release = () => {};
    let arrive = () => {};
    const held = new Promise<void>((done) => (release = done));
    const arrived = new Promise<void>((done) => (arrive = done));
    await page.route('**/topics/halted/messages', async (route) => {
      arrive();
      await held;
      await route.continue();
    });
    await dialog().getByRole('button', { name: 'Publish', exact: true }).click();
    await arrived; // a batch is on its way: it is counted, and none follows
    await dialog().getByRole('button', { name: 'Stop', exact: true }).click();
    release();
    await dialog().getByText('Stopped.').waitFor();
    const said = Number(await dialog().locator('[data-done]').getAttribute('data-done'));
    expect(said).toBeGreaterThan(0);
    expect(await depth('halted')).toBe(said);
    await done();
  });

  it('compares a message with the one before, digit by digit, and is reopened', async () => {
    await go(page, broker.url, '#/topics/orders/messages?from=1&at=1');
    await page.getByRole('button', { name: 'Diff with previous' }).click();
    const diff = page.getByRole('group', { name: 'Differences' });
    await page.getByText('6 lines differ').waitFor();
    const lines = (await diff.textContent())!.split('\n');
    expect(lines.filter((l) => /^[−+]/.test(l))).toEqual(['− tag: eu.a', '+ tag: eu.b', '− lot: 7', '+ lot: 8', '−   "n": 12345678901234567890,', '+   "n": 12345678901234567891,']);
    await go(page, broker.url, '#/topics/orders/messages?from=0&at=0&diff=1');
    await page.getByText('There is no message before this one.').waitFor();
    await accessible(page, 'a comparison');
    await done();
  });
});
