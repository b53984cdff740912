// Each screen, light and dark, wide and narrow: axe finds nothing serious, and nothing
// overflows. Where SHOTS names a directory, a picture of each is kept there for people to
// look at; of those of 1920 px where WIDE does.
//
// SHOTS=../docs/screenshots WIDE=/tmp/wide npx vitest run --project e2e e2e/screens.test.ts
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker } from './broker';
import { accessible, go, launch, open, resize, there, type View } from './browser';
import { calls, clients, consume, fill, traffic } from './seed';

const { SHOTS: shots, WIDE: wide } = process.env;
// So that pictures have figures that look like those of a day.
const warm = Number(process.env.WARM ?? (shots ? 20_000 : 5000));

interface Screen {
  name: string;
  hash: string;
  ready: string;
  prepare?: (page: Page) => Promise<void>;
  /** What to do in each width and light. */
  show?: (page: Page) => Promise<void>;
  /** Something lies over the page, which then is no longer than the window. */
  over?: true;
}

const drawn = '[data-chart=in] path.trace:not([d=""])';
const screens: Screen[] = [
  { name: 'overview', hash: '#/', ready: 'td a', prepare: (p) => p.locator('td polyline').first().waitFor({ state: 'attached' }) },
  { name: 'topics', hash: '#/topics', ready: '[role=grid] a' },
  { name: 'new-topic', hash: '#/topics?new=1', ready: 'dialog[open]', over: true, prepare: (p) => p.getByLabel('Name', { exact: true }).fill('returns') },
  { name: 'messages', hash: '#/topics/orders/messages?tag=eu.*&at=30100', ready: '.inspector pre', over: true },
  { name: 'tail', hash: '#/topics/orders/messages?tail=1', ready: '[role=row][id]' },
  { name: 'publish', hash: '#/topics/orders/messages', ready: '[role=row][id]', prepare: publishDialog, over: true },
  { name: 'topic-groups', hash: '#/topics/orders/groups', ready: '[role=grid] a' },
  { name: 'topic-settings', hash: '#/topics/orders/settings', ready: '.tags .num' },
  { name: 'groups', hash: '#/groups', ready: '[role=grid] a' },
  { name: 'group-place', hash: '#/topics/orders/groups/billing?to=6000', ready: '[data-plan]' },
  { name: 'group-filter', hash: '#/topics/orders/groups/billing/filter?filter=eu.%2B.paid', ready: '.diff' },
  { name: 'group-journal', hash: '#/topics/orders/groups/billing/journal', ready: 'tbody button' },
  { name: 'group-settings', hash: '#/topics/orders/groups/billing/settings', ready: 'dl.facts dd' },
  { name: 'group-history', hash: '#/topics/orders/groups/billing/history', ready: drawn },
  { name: 'topic-history', hash: '#/topics/orders/history', ready: drawn, prepare: chooseMoment },
  { name: 'service-history', hash: '#/topics/pricing/history', ready: drawn },
  { name: 'diff', hash: '#/topics/orders/messages?from=30100&at=30101&diff=1', ready: '.inspector .gone', over: true, show: (p) => p.locator('.inspector .gone').first().evaluate((e) => e.scrollIntoView({ block: 'center' })) },
  { name: 'republish', hash: '#/topics/orders/messages?dir=next', ready: '[role=row][id] input', prepare: republishDialog, over: true },
  { name: 'rpc', hash: '#/rpc', ready: '[role=row][id]' },
  { name: 'service', hash: '#/rpc/pricing?method=quote&params=%5B%22lamp-204%22%2C+3%2C+%22EUR%22%5D', ready: '[role=row][id]', prepare: callByHand },
  { name: 'servers', hash: '#/servers', ready: '.cards dl' },
  { name: 'sessions', hash: '#/sessions', ready: '[role=row][id]' },
  { name: 'audit', hash: '#/audit', ready: '[role=row][id]' },
  { name: 'settings', hash: '#/settings', ready: 'select' },
  { name: 'definitions', hash: '#/settings/definitions?prune=1', ready: 'textarea', prepare: dryRun },
  { name: 'about', hash: '#/settings/about', ready: 'dl dd' },
  { name: 'palette', hash: '#/', ready: 'td a', prepare: palette, over: true },
];

async function publishDialog(page: Page) {
  await page.getByRole('button', { name: 'Publish', exact: true }).click();
  await page.getByLabel('Tag', { exact: true }).fill('eu.de.paid');
  await page.getByLabel('Body', { exact: true }).fill('{\n  "order": {{n}},\n  "account": 9007199254740993,\n  "amount": 129.90\n}');
}
async function republishDialog(page: Page) {
  for (const box of [1, 2, 4]) await page.locator('[role=row][id] input').nth(box).check();
  await page.getByRole('button', { name: 'To another topic…' }).first().click();
  await page.getByLabel('To topic').fill('returns');
}
async function callByHand(page: Page) {
  await page.getByRole('button', { name: 'Call', exact: true }).click();
  await page.getByRole('group', { name: 'Answer', exact: true }).waitFor();
}
async function dryRun(page: Page) {
  const definitions = {
    topics: [
      { name: 'orders', retention: { maxAge: 1_209_600_000 }, groups: [{ name: 'billing', filter: 'eu.*', settle: 'explicit' }, { name: 'archive' }, { name: 'warehouse', filter: '+.+.paid' }] },
      { name: 'payments', retention: { maxAge: 2_592_000_000, maxBytes: '20000000000' }, groups: [{ name: 'ledger', settle: 'explicit' }, { name: 'reports' }] },
      { name: 'returns', groups: [{ name: 'desk' }] },
      ...['shipments', 'mail.outbox', 'audit.trail', 'clickstream', 'invoices', 'returns.eu'].map((name) => ({ name })),
      { name: 'stock.levels', kind: 'memory' },
      { name: 'pricing', kind: 'rpc' },
    ],
  };
  await page.getByLabel('Definitions, as JSON').fill(JSON.stringify(definitions, null, 2));
  await page.getByRole('button', { name: 'See what would change' }).click();
  await page.locator('[data-report]').waitFor();
}
async function chooseMoment(page: Page) {
  await page.getByRole('slider').press('[');
  await page.getByRole('link', { name: 'Messages at this moment' }).waitFor();
}
async function palette(page: Page) {
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox').fill('orders');
  await page.getByRole('option').nth(4).waitFor();
}

/** The beginnings of the tables that one has to scroll sideways. */
const cutTables = (page: Page) =>
  page.evaluate(() =>
    [...document.querySelectorAll('table')]
      .filter((table) => {
        if (!table.checkVisibility({ contentVisibilityAuto: true })) return false; // in details that are closed
        for (let e = table.parentElement; e; e = e.parentElement) if (e.scrollWidth > e.clientWidth) return true;
        return false;
      })
      .map((table) => table.innerText.slice(0, 80)),
  );

describe.skipIf(!there)('screens', () => {
  const broker = new Broker();
  let browser: Browser;
  let end = async () => {};
  beforeAll(async () => {
    for (const dir of [shots, wide]) if (dir) mkdirSync(dir, { recursive: true });
    await broker.start();
    await fill(broker);
    await consume(broker);
    await broker.stop(); // the figures begin anew, without the burst of filling it
    await broker.start();
    const leave = clients(broker);
    const hangUp = await calls(broker);
    const still = traffic(broker);
    end = async () => {
      leave();
      await hangUp();
      await still();
    };
    browser = await launch();
    await new Promise((r) => setTimeout(r, warm));
  });
  afterAll(async () => {
    await browser?.close();
    await end();
    await broker.close();
  });

  const only = process.env.SCREENS ? process.env.SCREENS.split(',') : undefined;
  // A screen is loaded once, and then looked at in each light and width.
  const looks = [390, 1280, 1920].flatMap((width) => (['light', 'dark'] as const).map((theme) => ({ width, theme, height: width === 390 ? 844 : width === 1280 ? 800 : 1080 })));
  for (const screen of screens.filter((s) => !only || only.includes(s.name))) {
    describe(screen.name, () => {
      let view: View;
      beforeAll(async () => {
        view = await open(browser, broker.url, looks[0]);
        const { page } = view;
        await go(page, broker.url, screen.hash);
        await page.locator(screen.ready).first().waitFor();
        await screen.prepare?.(page);
        await page.waitForTimeout(400); // the last figures
      });
      afterAll(() => view.context.close());
      for (const { width, theme, height } of looks) {
        it(`${theme}, ${width} px`, async () => {
          const { page } = view;
          await resize(page, { width, height, theme });
          await page.evaluate(() => scrollTo(0, 0)); // what is sticky is at its place in a picture of the whole page
          await screen.show?.(page);
          const shot = width === 1920 ? wide : shots;
          if (shot) await page.screenshot({ path: join(shot, `${screen.name}-${theme}-${width}.png`), fullPage: !screen.over });
          const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
          expect(over, 'pixels that hang over the side').toBeLessThanOrEqual(0);
          expect(await cutTables(page), 'tables that hang over the side of what holds them').toEqual([]);
          const here = (await page.locator('nav [aria-current]').first().boundingBox())!;
          expect(here.x >= 0 && here.x + here.width <= width, `the place in the navigation is in sight, from ${here.x} to ${here.x + here.width}`).toBe(true);
          // The other theme differs in its colours, and the widest window in nothing.
          if (width < 1920) await accessible(page, `${screen.name} ${theme} ${width}`, theme === 'dark' ? ['color-contrast'] : undefined);
          view.clean();
        });
      }
    });
  }
});
