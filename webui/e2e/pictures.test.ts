// What is drawn: the log with its messages and groups, and how much came lately.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Broker } from './broker';
import { go, launch, open, there, type View } from './browser';

describe.skipIf(!there)('pictures', () => {
  const broker = new Broker();
  let browser: Browser;
  let view: View;
  let page: Page;

  beforeAll(async () => {
    await broker.start();
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    await broker.close();
  });
  beforeEach(async () => {
    view = await open(browser, broker.url);
    page = view.page;
  });
  const done = async () => {
    view.clean();
    await view.context.close();
  };
  const topic = async (name: string, messages: number, groups: Record<string, number> = {}) => {
    await broker.call('POST', '/topics', { name });
    await broker.publish(name, Array.from({ length: messages }, (_, i) => ({ body: String(i) })));
    for (const [group, offset] of Object.entries({ own: 0, ...groups })) await broker.call('POST', `/topics/${name}/groups`, { name: group, start: { offset: String(offset) } });
  };

  it('has the labels of groups at their places before the messages are counted', async () => {
    await topic('labels', 1000, { quarter: 250, half: 500, late: 900 });
    let answer = () => {};
    const held = new Promise<void>((let_) => (answer = let_));
    await page.route('**/histogram?*', async (route) => {
      await held;
      await route.continue();
    });
    const asked = page.waitForRequest('**/histogram?*');
    await go(page, broker.url, '#/topics/labels/groups/own');
    await asked;
    const places = async () =>
      page.locator('.strip').evaluate((strip) => {
        const box = strip.querySelector('.surface')!.getBoundingClientRect();
        const lines = [...strip.querySelectorAll('.line.other')].map((e) => e.getBoundingClientRect().left);
        return lines.map((x) => Math.round(((x - box.left) / box.width) * 100));
      });
    await expect.poll(places).toEqual([25, 50, 90]);
    expect(await page.locator('.flag').allTextContents()).toEqual(['quarter', 'half', 'late']);
    answer();
    await page.locator('.surface path.all[d]:not([d=""])').waitFor({ state: 'attached' });
    expect(await places()).toEqual([25, 50, 90]);
    await done();
  });

  // The heights of the bars, from left to right; a place without one is 0.
  const heights = async () => {
    const [d, box] = await page.locator('.surface svg').evaluate((e) => [e.querySelector('path.all')!.getAttribute('d')!, e.getAttribute('viewBox')!] as const);
    const bars = new Map([...d.matchAll(/M(\d+) 100V([\d.]+)/g)].map((m) => [Number(m[1]), 100 - Number(m[2])]));
    return Array.from({ length: Number(box.split(' ')[2]) }, (_, i) => bars.get(i) ?? 0);
  };

  it('draws no comb where messages are few: bars of as many messages each', async () => {
    // Fewer than there is room for bars, and somewhat more.
    for (const messages of [30, 300, 700]) {
      await topic(`few-${messages}`, messages);
      await go(page, broker.url, `#/topics/few-${messages}/groups/own`);
      await page.locator('.surface path.all[d]:not([d=""])').waitFor({ state: 'attached' });
      const bars = await heights();
      if (messages === 30) expect(bars).toHaveLength(30);
      expect(bars.slice(0, -1).filter((h) => h !== 100), `${messages} messages, ${bars.length} bars`).toEqual([]);
      expect(bars.at(-1)).toBeGreaterThan(0);
    }
    await done();
  });

  it('has no more bars than messages over time either', async () => {
    await topic('slow', 1);
    for (let i = 1; i < 5; i++) await broker.publish('slow', [{ body: String(i) }]);
    await go(page, broker.url, '#/topics/slow/groups/own?axis=time');
    await page.getByRole('button', { name: 'time', pressed: true }).waitFor();
    await page.locator('.surface path.all[d]:not([d=""])').waitFor({ state: 'attached' });
    expect((await heights()).length).toBeLessThanOrEqual(5);
    await done();
  });

  it('shows in a page just opened how much came in the minutes before', async () => {
    await topic('busy', 1);
    let on = true;
    const published = (async () => {
      while (on) {
        await broker.publish('busy', [{ body: 'x' }]);
        await new Promise((r) => setTimeout(r, 200));
      }
    })();
    type Past = { topics: { name: string; in: number[] }[] };
    const kept = async () => (await broker.call<Past>('GET', '/stats/topics')).topics.find((x) => x.name === 'busy')?.in.filter((x) => x > 0).length ?? 0;
    await expect.poll(kept, { timeout: 40_000 }).toBeGreaterThanOrEqual(2);
    // Whatever the chart shows, the tile says how it goes now.
    await go(page, broker.url, '#/');
    await page.getByRole('button', { name: '24 h' }).click();
    await page.getByRole('button', { name: '24 h', pressed: true }).waitFor();
    await page.locator('.tile').filter({ has: page.getByText('Lag', { exact: true }) }).getByText(/^▲ \+/).waitFor();
    on = false;
    await published;
    // Opened while paused, there is one look at the figures and no more.
    await go(page, broker.url, '#/settings');
    await page.keyboard.press('p');
    await page.locator('[data-state="paused"]').waitFor();
    for (const hash of ['#/topics', '#/']) {
      await page.evaluate((h) => (location.hash = h), hash);
      const line = page.getByRole('row').filter({ has: page.getByRole('link', { name: 'busy', exact: true }) }).locator('polyline');
      await expect.poll(() => line.evaluate((e) => (e as SVGPolylineElement).points.numberOfItems), { message: hash }).toBeGreaterThanOrEqual(3);
    }
    await done();
  });
});
