// Names of 200 characters, wherever they are: cut in their middle within their box, whole on
// hover and when they are copied, and no page is wider than its window.
import { connect } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker } from './broker';
import { go, launch, open, there, type View } from './browser';
import { calculator, type Provider } from './provider';

const long = (word: string) => `${word}-${'of-the-shop.'.repeat(20)}`.slice(0, 191) + '.the-end';
const [topic, service, own, other] = ['orders', 'prices', 'billing', 'archive'].map(long) as [string, string, string, string];
const group = `#/topics/${topic}/groups/${own}`;

interface Place {
  name: string;
  hash: string;
  /** What is there when all is. */
  ready: string;
  press?: string;
  /** How many long names are seen, at the least. */
  names: number;
}
const places: Place[] = [
  { name: 'overview', hash: '#/', ready: 'td .name', names: 2 },
  { name: 'topics', hash: '#/topics', ready: '[role=row][id] .name', names: 2 },
  { name: 'messages', hash: `#/topics/${topic}/messages`, ready: '[role=row][id]', names: 1 },
  { name: 'message', hash: `#/topics/${topic}/messages?from=0&at=0`, ready: '.fates .name', names: 2 },
  { name: 'topic groups', hash: `#/topics/${topic}/groups`, ready: '[role=row][id] .name', names: 3 },
  { name: 'no topic', hash: `#/topics/${long('none')}`, ready: '.note .name', names: 2 },
  { name: 'groups', hash: '#/groups', ready: '[role=row][id] .name', names: 4 },
  { name: 'place', hash: `${group}?to=5`, ready: '[data-plan]', names: 5 },
  { name: 'filter', hash: `${group}/filter`, ready: '[aria-current=page]', names: 2 },
  { name: 'journal', hash: `${group}/journal`, ready: 'tbody button', names: 2 },
  { name: 'group settings', hash: `${group}/settings`, ready: 'dl.facts dd', names: 2 },
  { name: 'no group', hash: `#/topics/${topic}/groups/${long('none')}`, ready: '.note .name', names: 3 },
  { name: 'rpc', hash: '#/rpc', ready: '[role=row][id] .name', names: 1 },
  { name: 'service', hash: `#/rpc/${service}`, ready: '[role=row][id]', names: 1 },
  { name: 'sessions', hash: `#/sessions?q=${own.slice(0, 20)}`, ready: '[role=row][id] .name', names: 1 },
  { name: 'audit', hash: '#/audit', ready: '[role=row][id] .name', names: 4 },
  { name: 'settings', hash: '#/settings', ready: 'select', names: 0 },
  { name: 'publish', hash: `#/topics/${topic}/messages`, ready: '[role=row][id]', press: 'Publish', names: 2 },
  { name: 'empty', hash: `#/topics/${topic}/messages`, ready: '[role=row][id]', press: 'Empty…', names: 3 },
  { name: 'new group', hash: `#/topics/${topic}/groups`, ready: '[role=row][id] .name', press: 'New group', names: 3 },
  { name: 'delete a group', hash: group, ready: '[role=slider]', press: 'Delete…', names: 4 },
  { name: 'revert', hash: `${group}/journal`, ready: 'tbody button', press: 'Return here…', names: 3 },
];

describe.skipIf(!there)('names of 200 characters', () => {
  const broker = new Broker();
  let browser: Browser;
  let provider: Provider;
  let socket: ReturnType<typeof connect>;

  beforeAll(async () => {
    await broker.start();
    await broker.call('POST', '/topics', { name: topic });
    await broker.call('POST', '/topics', { name: service, kind: 'rpc' });
    await broker.publish(topic, Array.from({ length: 40 }, (_, i) => ({ tag: 'eu.de', body: String(i) })));
    for (const name of [own, other]) await broker.call('POST', `/topics/${topic}/groups`, { name, start: 'earliest' });
    const plan = await broker.call<{ id: string }>('POST', `/topics/${topic}/groups/${own}/plans`, { to: { offset: '20' } });
    await broker.call('POST', `/plans/${plan.id}:apply`, {});
    await broker.call('POST', `/topics/${topic}/groups`, { name: long('empty'), filter: 'nothing' });
    socket = connect(Number(new URL(broker.url).port), '127.0.0.1');
    socket.write(`GET / HTTP/1.1\r\ncmd: consume\r\ntopic: ${topic}\r\nconsume_group: ${own}\r\nwindow: 1\r\nid: 1\r\n\r\n`);
    socket.resume();
    provider = await calculator(broker, service);
    browser = await launch();
  });
  afterAll(async () => {
    socket?.destroy();
    provider?.close();
    await browser?.close();
    await broker.close();
  });

  /** faults is what is wrong with the names of a page, and how many there are. */
  const look = (page: Page) =>
    page.evaluate(() => {
      const faults: string[] = [];
      const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
      if (wide > 0) faults.push(`the page is ${wide} px too wide`);
      const scope = [...document.querySelectorAll('header.top, main, dialog[open], .toast, .alarm')];
      const seen = (e: Element) => e.getClientRects().length > 0 && !e.closest('.hidden-label');
      // A name is in one line and in its box: what scrolls, or else the window.
      const named = scope.flatMap((s) => [...s.querySelectorAll('.name')]).filter(seen);
      for (const e of named) {
        const box = e.getBoundingClientRect();
        const text = e.textContent!;
        if (box.height > 32) faults.push(`${text.slice(0, 12)} is ${box.height} px high`);
        if (e.getAttribute('title') !== text) faults.push(`${text.slice(0, 12)} is not whole on hover`);
        for (let up = e.parentElement; up; up = up.parentElement) {
          const style = getComputedStyle(up);
          if (/auto|scroll/.test(style.overflowX) && up.scrollWidth > up.clientWidth) break;
          const around = up.getBoundingClientRect();
          // What is placed by itself, or has cells of its own, is no box.
          if (around.width < 4 || style.display === 'inline' || up.matches('[role=row], [role=rowgroup]')) continue;
          if (box.right > around.right + 1) {
            faults.push(`${text.slice(0, 12)} ends ${Math.round(box.right - around.right)} px behind ${up.tagName}.${up.className}`);
            break;
          }
        }
      }
      // Nowhere else is a text so long that is seen, but for what is typed or run.
      for (const s of scope) {
        const texts = document.createTreeWalker(s, NodeFilter.SHOW_TEXT);
        for (let node = texts.nextNode(); node; node = texts.nextNode()) {
          const around = node.parentElement!;
          if (/[^\s]{49}/.test(node.textContent!) && !around.closest('.name, pre, textarea, script, style') && seen(around)) faults.push(`whole in ${around.tagName}.${around.className}: ${node.textContent!.slice(0, 30)}`);
        }
      }
      return { faults: [...new Set(faults)], names: named.filter((e) => e.textContent!.length > 190).length };
    });

  for (const width of [390, 1280]) {
    describe(`at ${width} px`, () => {
      let view: View;
      let page: Page;
      beforeAll(async () => {
        view = await open(browser, broker.url, { width, allow: /status of 404/ });
        page = view.page;
        await go(page, broker.url, '#/');
      });
      afterAll(() => view.context.close());
      for (const place of places) {
        it(place.name, async () => {
          await page.evaluate((hash) => (location.hash = hash), place.hash);
          await page.locator(place.ready).first().waitFor();
          if (place.press) {
            await page.getByRole('button', { name: place.press, exact: true }).first().click();
            await page.locator('dialog[open]').waitFor();
          }
          // The page before may still be leaving, and this one be getting its figures.
          await expect.poll(async () => {
            const { faults, names } = await look(page);
            return { faults, missing: Math.max(0, place.names - names) };
          }, { message: 'faults, and long names that are missing' }).toEqual({ faults: [], missing: 0 });
          if (place.press) {
            await page.keyboard.press('Escape');
            await page.locator('dialog[open]').waitFor({ state: 'detached' });
          }
          view.clean();
        });
      }

      it('palette, and selects', async () => {
        await page.keyboard.press('Control+k');
        await page.getByRole('combobox').fill('the-end');
        await page.getByRole('option').filter({ hasText: own }).first().waitFor();
        expect((await look(page)).faults).toEqual([]);
        await page.keyboard.press('Escape');
        await page.evaluate((hash) => (location.hash = hash), `#/topics/${topic}/messages`);
        const choices = page.getByLabel('As seen by group').locator('option[title]');
        await choices.first().waitFor({ state: 'attached' });
        await expect.poll(() => choices.evaluateAll((all) => all.map((o) => (o as HTMLElement).title.length > 190 && o.textContent!.length < 60))).toEqual([true, true, true]);
        view.clean();
      });

      it('is whole when it is copied, and both its ends are seen', async () => {
        await page.evaluate((hash) => (location.hash = hash), group);
        await page.getByRole('heading', { name: own, level: 1 }).waitFor();
        const name = page.locator('h1 .name');
        expect(await name.evaluate((e) => (getSelection()!.selectAllChildren(e), getSelection()!.toString()))).toBe(own);
        expect(await name.evaluate((e) => getComputedStyle(e, '::after').content)).toContain('.the-end');
        const [start, all] = await name.evaluate((e) => [e.firstElementChild!.getBoundingClientRect().width, e.getBoundingClientRect().width]);
        expect(start).toBeGreaterThan(50);
        expect(all! - start!).toBeGreaterThan(30);
        view.clean();
      });
    });
  }
});
