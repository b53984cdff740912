// What a user types, points at or reads stays: whatever the figures do, whatever
// the address holds by then, whether it is live or paused.
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Broker } from './broker';
import { answered, go, launch, open, there, type View } from './browser';
import { Provider } from './provider';
import { orderMessage } from './seed';

interface Place {
  name: string;
  hash: string;
  ready: string;
  prepare?: (page: Page) => Promise<void>;
}

const press = (name: string) => (page: Page) => page.getByRole('button', { name, exact: true }).first().click();

const pages: Place[] = [
  { name: 'overview', hash: '#/', ready: 'td a' },
  { name: 'topics', hash: '#/topics', ready: '[role=grid] a' },
  { name: 'messages', hash: '#/topics/orders/messages', ready: '[role=row][id]' },
  { name: 'message', hash: '#/topics/orders/messages?at=100', ready: '.inspector pre' },
  { name: 'tail', hash: '#/topics/orders/messages?tail=1', ready: '[role=row][id]' },
  { name: 'topic groups', hash: '#/topics/orders/groups', ready: '[role=grid] a' },
  { name: 'topic settings', hash: '#/topics/orders/settings', ready: '.tags .num' },
  { name: 'groups', hash: '#/groups', ready: '[role=grid] a' },
  { name: 'place', hash: '#/topics/orders/groups/billing?to=100', ready: '[data-plan]' },
  { name: 'filter', hash: '#/topics/orders/groups/billing/filter?filter=eu.%2B.paid', ready: '.diff' },
  { name: 'journal', hash: '#/topics/orders/groups/billing/journal', ready: 'tbody button' },
  { name: 'group settings', hash: '#/topics/orders/groups/billing/settings', ready: 'dl.facts dd' },
  { name: 'rpc', hash: '#/rpc', ready: '[role=row][id]' },
  { name: 'service', hash: '#/rpc/pricing?method=quote', ready: '[role=row][id]' },
  { name: 'servers', hash: '#/servers', ready: '.cards dl' },
  { name: 'sessions', hash: '#/sessions', ready: '[role=row][id]' },
  { name: 'audit', hash: '#/audit', ready: '[role=row][id]' },
  { name: 'settings', hash: '#/settings', ready: 'select' },
  { name: 'definitions', hash: '#/settings/definitions', ready: 'textarea' },
  { name: 'about', hash: '#/settings/about', ready: 'dl dd' },
];
const dialogs: Place[] = [
  { name: 'new topic', hash: '#/topics?new=1', ready: 'dialog[open]' },
  { name: 'publish', hash: '#/topics/orders/messages', ready: '[role=row][id]', prepare: press('Publish') },
  { name: 'new group', hash: '#/topics/orders/groups', ready: '[role=grid] a', prepare: press('New group') },
  { name: 'new group from a place', hash: '#/topics/orders/groups/billing', ready: '[role=slider]', prepare: press('New group from here…') },
  { name: 'empty', hash: '#/topics/orders/messages', ready: '[role=row][id]', prepare: press('Empty…') },
  { name: 'delete a group', hash: '#/topics/orders/groups/billing', ready: '[role=slider]', prepare: press('Delete…') },
  { name: 'revert', hash: '#/topics/orders/groups/billing/journal', ready: 'tbody button', prepare: press('Return here…') },
  { name: 'disconnect', hash: '#/sessions', ready: '[role=row][id]', prepare: press('Disconnect…') },
];

const fields = 'input:not([type=checkbox]):not([type=radio]):not([type=file]):visible, textarea:visible';

describe.skipIf(!there)('what a user does stays', () => {
  const broker = new Broker();
  let provider: Provider;
  let browser: Browser;
  let publishing = true;
  let published: Promise<void>;

  beforeAll(async () => {
    await broker.start();
    await broker.call('POST', '/topics', { name: 'orders' });
    await broker.call('POST', '/topics', { name: 'pricing', kind: 'rpc' });
    await broker.call('POST', '/topics/orders/groups', { name: 'billing', filter: 'eu.*', start: 'earliest' });
    await broker.publish('orders', Array.from({ length: 2000 }, orderMessage));
    await broker.pull('orders', 'billing', 500);
    const plan = await broker.call<{ id: string }>('POST', '/topics/orders/groups/billing/plans', { to: { offset: '700' } });
    await broker.call('POST', `/plans/${plan.id}:apply`, { reason: 'before the test' });
    provider = await new Provider(broker, 'pricing', async () => ({ body: '{"result":1}' })).serve({
      name: 'pricing', version: '1', methods: [{ name: 'quote', params: { type: 'array', prefixItems: [{ type: 'string' }] } }],
    });
    // Figures that change every second, as they do where there is work.
    const loop = async () => {
      while (publishing) {
        await broker.publish('orders', [orderMessage(), orderMessage()]);
        await broker.pull('orders', 'billing', 1);
        await broker.call('POST', '/rpc/pricing/quote', ['lamp']);
        await new Promise((r) => setTimeout(r, 150));
      }
    };
    published = loop();
    browser = await launch();
  });
  afterAll(async () => {
    publishing = false;
    await published;
    provider?.close();
    await browser?.close();
    await broker.close();
  });

  // They wait most of the time, for figures and between keys, so several run at once, each
  // with a window that it takes and gives back. One that has failed is not used again.
  const windows: View[] = [];
  const inWindow = (use: (page: Page) => Promise<void>) => async () => {
    const view = windows.pop() ?? (await open(browser, broker.url));
    await use(view.page);
    view.clean();
    windows.push(view);
  };
  const visit = async (page: Page, place: Place) => {
    await page.goto('about:blank'); // so that a dialog of the place before is gone
    await go(page, broker.url, place.hash);
    await page.locator(place.ready).first().waitFor();
    await place.prepare?.(page);
  };
  const active = (field: Locator) => field.evaluate((e) => e === document.activeElement);
  const state = async () => {
    const { filter, paused } = await broker.group('orders', 'billing');
    const { entries } = await broker.call<{ entries: unknown[] }>('GET', '/topics/orders/groups/billing/journal');
    return { filter, paused, journal: entries.length };
  };

  for (const place of [...pages, ...dialogs]) {
    it.concurrent(`keeps what is typed with pauses: ${place.name}`, inWindow(async (page) => {
      const before = await state();
      await visit(page, place);
      const scope = (await page.locator('dialog[open]').count()) ? page.locator('dialog[open]') : page.locator('main');
      const n = await scope.locator(fields).count();
      for (let i = 0; i < n; i++) {
        const field = await scope.locator(fields).nth(i).elementHandle();
        if (!field || !(await field.isEnabled())) continue;
        await field.focus();
        await page.keyboard.press('Control+a');
        const text = (await field.getAttribute('type')) === 'number' ? '12' : 'pu';
        for (const letter of text) {
          await page.keyboard.type(letter);
          await page.waitForTimeout(500);
          const same = await field.evaluate((e) => e === document.activeElement && e.isConnected);
          expect(same, `field ${i} has the focus after ${letter}`).toBe(true);
        }
        expect(await field.evaluate((e) => (e as HTMLInputElement).value), `field ${i}`).toBe(text);
      }
      await page.locator('[data-state="live"]').waitFor(); // still, or again: no letter was taken for a pause
      expect(await state(), 'nothing was changed').toEqual(before);
    }));
  }

  it.concurrent('keeps the slider focused over five arrow keys, and asks for each plan once', inWindow(async (page) => {
    await visit(page, { name: '', hash: '#/topics/orders/groups/billing', ready: '[role=slider]' });
    const slider = page.getByRole('slider');
    await page.locator('.surface path.match[d]:not([d=""])').waitFor({ state: 'attached' });
    let plans = 0;
    page.on('request', (r) => r.method() === 'POST' && r.url().endsWith('/plans') && plans++);
    await slider.focus();
    let first = 0;
    for (let i = 1; i <= 5; i++) {
      await page.keyboard.press('ArrowLeft');
      if (i === 1) first = Number(await slider.getAttribute('aria-valuenow')); // before it the place is that of the group, which moves
      await page.locator('[data-plan]').waitFor();
      await page.waitForTimeout(500);
      expect(await active(slider), `after key ${i}`).toBe(true);
      expect(plans).toBe(i);
      if (i === 1) await page.getByLabel('Reason, for the journal').evaluate((e) => ((e as HTMLElement).dataset.kept = 'yes'));
    }
    expect(Number(await slider.getAttribute('aria-valuenow'))).toBe(first - 4);
    await page.getByLabel('Reason, for the journal').fill('bad deploy');
    await slider.focus();
    await page.keyboard.press('ArrowLeft');
    await page.locator('[data-plan]').waitFor();
    await page.waitForTimeout(1500);
    expect(plans).toBe(6);
    expect(await page.getByLabel('Reason, for the journal').inputValue()).toBe('bad deploy');
  }));

  // Watches the page: no figure is ever taken away while something else changes.
  const watch = (page: Page) =>
    page.evaluate(() => {
      const seen: string[] = [];
      (window as unknown as { blanks: string[] }).blanks = seen;
      new MutationObserver(() => {
        // A message that is chosen is looked up; all else is there already.
        const inspected = document.querySelector('.inspector')?.textContent ?? '';
        const text = (document.querySelector('main')?.textContent ?? '').replace(inspected, '');
        const m = /Waiting for the (first figures|broker)…/.exec(text);
        if (m) seen.push(m[0]);
      }).observe(document.querySelector('main')!, { childList: true, subtree: true, characterData: true });
    });
  const blanks = (page: Page) => page.evaluate(() => (window as unknown as { blanks: string[] }).blanks);

  for (const place of pages.filter((p) => !['tail', 'settings', 'definitions'].includes(p.name))) {
    it.concurrent(`never takes a figure away: ${place.name}`, inWindow(async (page) => {
      await visit(page, place);
      await page.waitForTimeout(1200);
      await watch(page);
      for (let i = 0; i < 5; i++) {
        await page.keyboard.press('j');
        await page.waitForTimeout(250);
      }
      const figures = page.locator('main').locator('.figures, .tiles, [role=grid] [role=row][id], .cards, dl').first();
      const shown = await figures.textContent();
      expect(shown).not.toBe('');
      await page.keyboard.press('p');
      await page.locator('[data-state="paused"]').waitFor();
      await page.waitForTimeout(700);
      expect(await blanks(page), 'paused').toEqual([]);
      // What is shown stays; an age may count on. An answer that was on its way comes still.
      const digits = async () => ((await page.locator('main').textContent()) ?? '').replace(/[\d.,]+ ?(ms|s|m|min|h)?/g, '#');
      await answered(page);
      await vi.waitFor(async () => {
        const held = await digits();
        await page.waitForTimeout(2200);
        expect(await digits(), 'what is shown stays').toBe(held);
      }, { timeout: 45_000 });
      await page.locator('[data-state="paused"]').filter({ hasText: /\d/ }).waitFor(); // its age
      await page.keyboard.press('p');
      await page.locator('[data-state="live"]').waitFor();
      expect(await blanks(page), 'live again').toEqual([]);
    }));
    it.concurrent(`shows itself when it is opened while paused: ${place.name}`, inWindow(async (page) => {
      await visit(page, { name: '', hash: '#/settings', ready: 'select' });
      await page.keyboard.press('p');
      await page.locator('[data-state="paused"]').waitFor();
      await page.evaluate((hash) => (location.hash = hash), place.hash);
      await page.locator(place.ready).first().waitFor();
    }));
  }
});
