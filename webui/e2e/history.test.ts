// The history of a group, a topic and a service: drawn, gone on with, looked into by keys and by hand.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { Broker } from './broker';
import { accessible, go, launch, open, requests, there, type View } from './browser';

const soon = <T>(look: () => T | Promise<T>) => expect.poll(look, { timeout: 45_000 });

describe.skipIf(!there)('history', () => {
  const broker = new Broker();
  let browser: Browser;
  let view: View;
  let page: Page;

  beforeAll(async () => {
    await broker.start();
    await broker.call('POST', '/topics', { name: 'orders' });
    await broker.call('POST', '/topics/orders/groups', { name: 'billing', start: 'earliest' });
    await broker.call('POST', '/topics', { name: 'pricing', kind: 'rpc' });
    await broker.publish('orders', Array.from({ length: 50 }, (_, n) => ({ body: `{"n":${n}}` })));
    await broker.pull('orders', 'billing', 20);
    const plan = await broker.call<{ id: string }>('POST', '/topics/orders/groups/billing/plans', { to: 'earliest' });
    await broker.call('POST', `/plans/${plan.id}:apply`, { reason: 'bill again' });
    await broker.call('POST', '/rpc/pricing', {}).catch(() => undefined); // nobody is there to answer
    type History = { lag?: number[]; failed?: number[] };
    const has = async (path: string, key: keyof History) => (await broker.call<History>('GET', path))[key] !== undefined;
    await vi.waitFor(async () => {
      expect(await has('/topics/orders/groups/billing/stats', 'lag')).toBe(true);
      expect(await has('/topics/pricing/stats', 'failed')).toBe(true);
    }, { timeout: 60_000, interval: 200 });
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
  const charts = () => page.locator('figure[data-chart]').evaluateAll((all) => all.map((e) => (e as HTMLElement).dataset.chart));
  const slider = () => page.getByRole('slider', { name: 'Moment' });
  const hash = () => page.evaluate(() => location.hash);
  const query = async (name: string) => new URLSearchParams((await hash()).split('?')[1]).get(name);
  const shown = async (path: string) => {
    await go(page, broker.url, `#/topics/${path}/history`);
    await page.locator('[data-chart=in] path.trace:not([d=""])').first().waitFor({ state: 'attached' });
  };

  it('goes on live without a request, and its gaps and marks are there', async () => {
    await shown('orders/groups/billing');
    expect(await charts()).toEqual(['in', 'lag', 'age', 'redelivered', 'failed', 'latency']);
    // Before the broker was started nothing is known, and nothing is drawn as 0.
    // On a machine that is busy a second may be missing later on, too: in each chart.
    await soon(async () => (await page.locator('figure[data-chart]:has(rect.gap)').count())).toBe(6);
    await soon(() => page.locator('[data-chart=lag] path.mark').count()).toBeGreaterThanOrEqual(2);
    const asked = await requests(page);
    const until = Number(await slider().getAttribute('aria-valuemax'));
    await broker.publish('orders', [{ body: 'late' }]);
    await soon(async () => Number(await slider().getAttribute('aria-valuemax'))).toBeGreaterThan(until + 4000);
    // How old messages are when they are delivered comes by itself, too.
    const slowest = page.locator('[data-chart=latency] .value').last();
    const before = await slowest.textContent();
    await expect.poll(async () => {
      await broker.publish('orders', [{ body: 'another' }]);
      await broker.pull('orders', 'billing', 1);
      return slowest.textContent();
    }, { timeout: 45_000, interval: 1500 }).not.toBe(before);
    expect(asked.list.length, asked.list.join()).toBeLessThanOrEqual(asked.again);
    await slider().press('End');
    await soon(() => slider().getAttribute('aria-valuetext')).toMatch(/Lag: \d+/);
    await accessible(page, 'history');
    await done();
  });

  it('is looked into by keys: to a mark, nearer, and to the messages of that moment', async () => {
    await shown('orders/groups/billing');
    await slider().focus();
    await page.keyboard.press('[');
    await soon(() => slider().getAttribute('aria-valuetext')).toContain('moved');
    const moment = Number(await query('at'));
    await page.keyboard.press('+');
    await soon(() => query('since')).not.toBeNull();
    expect(Number(await query('since'))).toBeLessThan(moment);
    expect(Number(await query('until'))).toBeGreaterThan(moment);
    await page.keyboard.press('ArrowLeft');
    await soon(async () => Number(await query('at'))).toBeLessThan(moment);
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('Escape');
    await soon(() => query('at')).toBeNull();
    await page.keyboard.press('[');
    await soon(() => query('at')).not.toBeNull();
    const time = new Date(Number(await query('at'))).toISOString();
    await page.keyboard.press('Enter');
    await soon(hash).toBe(`#/topics/orders/messages?time=${time}`);
    await page.getByText('late').or(page.getByText('scanned')).first().waitFor();
    await done();
  });

  it('is zoomed by drawing over a chart, and other ranges are asked for once', async () => {
    await shown('orders');
    const width = async () => Number(await slider().getAttribute('aria-valuemax')) - Number(await slider().getAttribute('aria-valuemin'));
    const whole = await width();
    const box = (await page.locator('[data-chart=lag] svg.whole').boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.5, box.y + 40);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.7, box.y + 40, { steps: 4 });
    await page.mouse.up();
    await soon(() => query('since')).not.toBeNull();
    const length = Number(await query('until')) - Number(await query('since'));
    expect(length).toBeGreaterThanOrEqual(10_000);
    expect(length).toBeLessThan(whole / 2);
    await page.getByRole('button', { name: 'Whole range' }).click();
    await soon(() => query('since')).toBeNull();
    const asked = await requests(page);
    for (const [name, range] of [['24 h', '24h'], ['30 days', '30d']] as const) {
      const answer = page.waitForResponse((r) => r.url().includes(`range=${range}`));
      await page.getByRole('button', { name }).click();
      await answer;
      await soon(width).toBeGreaterThan(range === '24h' ? 600_000 : 30_000_000);
    }
    expect(asked.list).toEqual(expect.arrayContaining(['/api/v1/topics/orders/stats?range=24h', '/api/v1/topics/orders/stats?range=30d']));
    expect(asked.list.length, asked.list.join()).toBeLessThanOrEqual(2 + asked.again);
    await done();
  });

  it('gets a mark when something is done, in both languages', async () => {
    await shown('orders/groups/billing');
    await page.getByRole('button', { name: 'Pause', exact: true }).click();
    await page.locator('summary').filter({ hasText: 'Marks' }).click();
    await page.locator('li').filter({ hasText: 'paused' }).getByRole('button').first().click();
    await soon(() => slider().getAttribute('aria-valuetext')).toContain('paused');
    await page.getByRole('button', { name: '中文' }).click();
    await page.getByRole('link', { name: '此刻的消息' }).waitFor();
    await accessible(page, 'history in Chinese');
    await page.getByRole('button', { name: 'English' }).click();
    await broker.call('PATCH', '/topics/orders/groups/billing', { paused: false });
    await page.locator('li').filter({ hasText: 'resumed' }).first().waitFor();
    await done();
  });

  it('of a service has its calls, and no messages', async () => {
    await shown('pricing');
    expect(await charts()).toEqual(['in', 'lag', 'failed', 'latency']);
    await slider().press('Home');
    await soon(() => query('at')).not.toBeNull();
    await page.getByRole('button', { name: 'Let go' }).waitFor();
    expect(await page.getByRole('link', { name: 'Messages at this moment' }).count()).toBe(0);
    await done();
  });

  it('is there after a restart, and read again by itself', async () => {
    await shown('orders');
    await page.locator('summary').filter({ hasText: 'Marks' }).click();
    await page.locator('li').filter({ hasText: 'moved' }).first().waitFor();
    const starts = () => page.locator('li').filter({ hasText: 'broker started' }).count();
    const before = await starts();
    await broker.stop();
    await page.locator('[data-state="lost"]').waitFor();
    const again = page.waitForResponse((r) => r.url().includes('/orders/stats'), { timeout: 60_000 });
    await broker.start();
    await again;
    // The start is a mark once there are figures after it.
    const known = async () => (await broker.call<{ marks: { kind: string }[] }>('GET', '/topics/orders/stats')).marks.filter((m) => m.kind === 'start').length;
    await soon(known).toBe(before + 1);
    await page.getByRole('button', { name: '15 min' }).click();
    await soon(starts).toBe(before + 1);
    await page.locator('li').filter({ hasText: 'moved' }).first().waitFor();
    await done();
  });
});
