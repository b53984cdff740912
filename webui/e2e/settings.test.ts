// Settings of this browser, and definitions out and in again.
import { readFileSync } from 'node:fs';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Broker } from './broker';
import { accessible, go, keys, launch, open, there, type View } from './browser';

describe.skipIf(!there)('settings', () => {
  const broker = new Broker();
  let browser: Browser;
  let view: View;
  let page: Page;

  beforeAll(async () => {
    await broker.start();
    await broker.call('POST', '/topics', { name: 'orders', retention: { maxCount: '9007199254740993' } });
    await broker.call('POST', '/topics/orders/groups', { name: 'billing', filter: 'eu.*' });
    await broker.call('POST', '/topics', { name: 'old' });
    await broker.publish('old', [{ body: 'a' }, { body: 'b' }, { body: 'c' }]);
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    await broker.close();
  });
  beforeEach(async () => {
    view = await open(browser, broker.url, { allow: /status of 4\d\d/ });
    page = view.page;
  });
  const done = async () => {
    view.clean();
    await view.context.close();
  };
  const fill = (definitions: object) => page.getByLabel('Definitions, as JSON').fill(JSON.stringify(definitions));
  const report = (kind: 'dry' | 'done') => page.locator(`[data-report="${kind}"]`);
  const topics = async () => (await broker.call<{ topics: { name: string }[] }>('GET', '/topics')).topics.map((t) => t.name);

  it('choose language, theme and zone, and are kept', async () => {
    await go(page, broker.url, '#/');
    await keys(page, 'g', 'e');
    await page.getByRole('main').getByLabel('Theme').selectOption('dark');
    await page.getByRole('main').getByLabel('Times').selectOption('utc');
    await page.getByRole('main').getByLabel('Language').selectOption('zh');
    await page.getByRole('heading', { name: '设置' }).waitFor();
    await page.reload();
    await page.getByRole('heading', { name: '设置' }).waitFor();
    expect(await page.evaluate(() => [document.documentElement.dataset.theme, document.documentElement.lang])).toEqual(['dark', 'zh-CN']);
    await page.getByRole('button', { name: 'UTC' }).waitFor();
    await page.getByRole('main').getByLabel('语言').selectOption('en');
    await page.getByRole('heading', { name: 'Settings' }).waitFor();
    await done();
  });

  it('say which broker this is and where its documents are, which are there', async () => {
    await go(page, broker.url, '#/settings/about');
    await page.getByText('v0.9.0').first().waitFor();
    const links = page.getByRole('main').getByRole('link').filter({ hasNotText: /^(This browser|Definitions|About)$/ });
    const addresses = await links.evaluateAll((all) => all.map((a) => (a as HTMLAnchorElement).href));
    expect(addresses.length).toBe(5);
    for (const address of addresses) expect((await fetch(address)).status, address).toBe(200);
    await accessible(page, 'about');
    await done();
  });

  it('export a file that changes nothing when it is imported', async () => {
    await go(page, broker.url, '#/settings/definitions');
    const saved = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Save as a file' }).click();
    const path = (await (await saved).path())!;
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(await broker.call('GET', '/definitions'));
    expect(readFileSync(path, 'utf8')).toContain('"maxCount": "9007199254740993"');
    await page.locator('input[type=file]').setInputFiles(path);
    await report('dry').getByText('Everything is as described.').waitFor();
    await report('dry').getByText('3 as they are').waitFor();
    await done();
  });

  it('import after a look, with the old and the new values; the look changes nothing', async () => {
    await go(page, broker.url, '#/settings/definitions');
    await fill({ topics: [{ name: 'orders', retention: { maxCount: '5' }, groups: [{ name: 'billing', filter: 'us.*' }] }, { name: 'returns', groups: [{ name: 'desk' }] }] });
    const before = JSON.stringify(await broker.call('GET', '/definitions'));
    await page.getByRole('button', { name: 'See what would change' }).click();
    await report('dry').waitFor();
    const text = (await report('dry').textContent())!;
    expect(text).toMatch(/\+ 2 create.*~ 2 change.*− 0 delete.*0 as they are/s);
    expect(await report('dry').getByRole('row').filter({ hasText: 'orders/billing' }).textContent()).toMatch(/"eu\.\*".*→.*"us\.\*"/s);
    expect(await report('dry').getByRole('row').filter({ hasText: 'retention' }).first().textContent()).toMatch(/9007199254740993.*→.*"5"/s);
    expect(JSON.stringify(await broker.call('GET', '/definitions')), 'a look').toBe(before);
    await accessible(page, 'what would change');
    // Other text is not what was looked at.
    await page.getByLabel('Definitions, as JSON').press('End');
    await page.keyboard.type(' ');
    await report('dry').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'See what would change' }).click();
    await report('dry').getByRole('button', { name: 'Apply', exact: true }).click();
    await report('done').waitFor();
    expect((await broker.group('orders', 'billing')).filter).toBe('us.*');
    expect(await topics()).toEqual(['old', 'orders', 'returns']);
    await done();
  });

  it('delete only when asked to and by a typed word, with the numbers before', async () => {
    await go(page, broker.url, '#/settings/definitions?prune=1');
    expect(await page.getByLabel('Delete what is not in the file (prune)').isChecked()).toBe(true);
    await fill({ topics: [{ name: 'orders' }] });
    await page.getByRole('button', { name: 'See what would change' }).click();
    await report('dry').getByText('with 3 messages').waitFor();
    await report('dry').getByRole('button', { name: 'Apply…' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText(/2 topics are deleted, with 3 messages; 1 group/).waitFor();
    expect(await dialog.getByRole('button', { name: 'Apply', exact: true }).isDisabled()).toBe(true);
    await dialog.getByLabel('Type delete to confirm').fill('delete');
    await dialog.getByRole('button', { name: 'Apply', exact: true }).click();
    await report('done').waitFor();
    expect(await topics()).toEqual(['orders']);
    await done();
  });

  it('say which member is wrong', async () => {
    await go(page, broker.url, '#/settings/definitions');
    await fill({ topics: [{ name: 'orders', colour: 'red' }] });
    await page.getByRole('button', { name: 'See what would change' }).click();
    await page.getByRole('alert').getByText('colour').waitFor();
    await page.getByLabel('Definitions, as JSON').fill('{"topics": [}');
    await page.getByText('not JSON: line 1, column 13').waitFor();
    expect(await page.getByRole('button', { name: 'See what would change' }).isDisabled()).toBe(true);
    await done();
  });
});
