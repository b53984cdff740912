// Moving a group by eye: drag or keys, the plan with the very messages, apply, undo.
import { connect } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Broker } from './broker';
import { go, launch, open, there, type View } from './browser';

const total = 2000;
const tags = ['eu.de.paid', 'eu.fr.paid', 'eu.de.void', 'us.ca.paid', ''];
const message = (i: number) => ({ ...(tags[i % 5] ? { tag: tags[i % 5] } : {}), body: `{"n":${i}}` });

describe.skipIf(!there)('groups', () => {
  const broker = new Broker();
  let browser: Browser;
  let view: View;
  let page: Page;
  let topic = '';
  let made = 0;

  beforeAll(async () => {
    await broker.start();
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    await broker.close();
  });
  beforeEach(async () => {
    topic = `orders-${++made}`;
    await broker.call('POST', '/topics', { name: topic });
    await broker.call('POST', `/topics/${topic}/groups`, { name: 'billing', filter: 'eu.*', start: 'earliest' });
    await broker.publish(topic, Array.from({ length: total }, (_, i) => message(i)));
    // Up to the message 1,000.
    for (let left = 600; left > 0; ) left -= (await broker.pull(topic, 'billing', left)).length;
    view = await open(browser, broker.url, { allow: /status of 4(09|12)/ });
    page = view.page;
  });

  const cursor = async () => BigInt((await broker.group(topic, 'billing')).cursor);
  const place = async (to = '') => {
    await go(page, broker.url, `#/topics/${topic}/groups/billing${to}`);
    await page.getByRole('slider').waitFor();
    await page.locator('.surface path.match[d]:not([d=""])').waitFor({ state: 'attached' });
  };
  const apply = async (reason = '') => {
    if (reason) await page.getByLabel('Reason, for the journal').fill(reason);
    const word = page.getByLabel('Type billing to confirm');
    if (await word.count()) await word.fill('billing');
    await page.getByRole('button', { name: 'Move the group' }).click();
  };
  const done = async () => {
    view.clean();
    await view.context.close();
  };

  it('moves by drag, a consumer gets the messages again, and undo puts it back exactly', async () => {
    const before = await cursor();
    await place();
    const box = (await page.locator('.surface').boundingBox())!;
    const at = (fraction: number) => box.x + box.width * fraction;
    await page.mouse.move(at(Number(before) / total), box.y + 60);
    await page.mouse.down();
    await page.mouse.move(at(0.4), box.y + 60, { steps: 5 });
    await page.mouse.move(at(0.25), box.y + 60, { steps: 5 });
    await page.mouse.up();
    const plan = page.locator('[data-plan="rewind"]');
    await plan.waitFor();
    const target = BigInt(new URLSearchParams((await page.evaluate(() => location.hash)).split('?')[1]).get('to')!);
    expect(Number(target)).toBeGreaterThan(480);
    expect(Number(target)).toBeLessThan(520);
    const expected = Array.from({ length: total }, (_, i) => i).filter((i) => BigInt(i) >= target && tags[i % 5]!.startsWith('eu.'));
    const again = expected.filter((i) => BigInt(i) < before).length;
    expect(await plan.textContent()).toContain(`${again} of these pass eu.*`);
    const first = page.locator('.next').first().locator('li a');
    expect((await first.allTextContents()).slice(0, 5)).toEqual(expected.slice(0, 5).map((i) => `#${i.toLocaleString('en-US')}`));
    expect(await cursor(), 'a plan changes nothing').toBe(before);
    await apply('bad deploy 14:01');
    await page.getByRole('button', { name: /Undo/ }).waitFor();
    expect(await cursor()).toBe(target);
    const got = await broker.pull(topic, 'billing', 3);
    expect(got.map((d) => Number(d.offset))).toEqual(expected.slice(0, 3));
    await page.keyboard.press('Escape');
    await page.locator('h1').click();
    await page.keyboard.press('Control+z');
    const question = page.getByRole('dialog', { name: 'Undo' });
    await question.getByText(`Move billing in ${topic} back, from #${target.toLocaleString('en-US')} to #${before.toLocaleString('en-US')}?`).waitFor();
    await page.keyboard.press('Escape');
    await question.waitFor({ state: 'detached' });
    expect(await cursor(), 'a question changes nothing').not.toBe(before);
    await page.keyboard.press('Control+z');
    await question.waitFor();
    await page.keyboard.press('Enter');
    await page.getByText('Undone').waitFor();
    expect(await cursor()).toBe(before);
    await done();
  });

  it('moves by keys alone, and skipping says what is never delivered', async () => {
    const before = await cursor();
    await place();
    const slider = page.getByRole('slider');
    await slider.focus();
    await page.keyboard.press('Shift+ArrowRight');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowLeft');
    expect(await slider.getAttribute('aria-valuetext')).toContain(`message ${(before + 21n).toLocaleString('en-US')}`);
    expect(await slider.getAttribute('aria-valuetext')).toContain('skips 21');
    await page.keyboard.press('Enter');
    const plan = page.locator('[data-plan="skip"]');
    await plan.waitFor();
    const lost = Array.from({ length: 21 }, (_, i) => Number(before) + i).filter((i) => tags[i % 5]!.startsWith('eu.')).length;
    expect(await plan.textContent()).toContain(`${lost} of these pass eu.* and will never be delivered`);
    const file = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Save these first, as lines of JSON' }).click();
    expect((await file).suggestedFilename()).toBe(`${topic}-billing-skipped.ndjson`);
    // From the slider to the fields and the button with Tab and Enter only.
    await page.getByLabel('Type billing to confirm').focus();
    await page.keyboard.type('billin');
    expect(await page.getByRole('button', { name: 'Move the group' }).isDisabled()).toBe(true);
    await page.keyboard.type('g');
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: /Undo/ }).waitFor();
    expect(await cursor()).toBe(before + 21n);
    await done();
  });

  it('asks for the name before a skip and a long way back, and for nothing but a reason otherwise', async () => {
    const word = page.getByLabel('Type billing to confirm');
    const move = page.getByRole('button', { name: 'Move the group' });
    const far = await broker.call<{ id: string }>('POST', `/topics/${topic}/groups/billing/plans`, { to: { offset: '1900' } });
    await broker.call('POST', `/plans/${far.id}:apply`, {});
    await place('?to=1800');
    await page.locator('[data-plan="rewind"]').waitFor();
    await page.locator('.next li').first().waitFor();
    expect(await word.count()).toBe(0);
    expect(await move.isEnabled()).toBe(true);
    const top = async (name: string) => (await page.locator(name).first().boundingBox())!.y;
    expect(await top('[data-reason]'), 'what is asked stands above the examples').toBeLessThan(await top('.next'));
    for (const [to, plan] of [['0', 'rewind'], ['1950', 'skip']]) {
      await page.getByLabel('Position', { exact: true }).fill(to!);
      await page.getByLabel('Position', { exact: true }).press('Enter');
      await page.locator(`[data-plan="${plan}"]`).waitFor();
      await word.waitFor();
      expect(await move.isDisabled()).toBe(true);
      await expect.poll(() => page.evaluate(() => document.activeElement?.textContent)).toContain(plan!.toUpperCase());
      await page.keyboard.press('Tab');
      if (plan === 'skip') await page.keyboard.press('Tab'); // past the button that saves what is skipped
      expect(await page.evaluate(() => document.activeElement?.hasAttribute('data-reason'))).toBe(true);
    }
    await done();
  });

  it('finds the next and the previous message that passes with [ and ]', async () => {
    await place('?to=1003');
    await page.locator('[data-plan]').waitFor();
    await page.getByRole('slider').focus();
    await page.keyboard.press(']');
    await expect.poll(() => page.getByRole('slider').getAttribute('aria-valuenow')).toBe('1005');
    await page.keyboard.press('[');
    await expect.poll(() => page.getByRole('slider').getAttribute('aria-valuenow')).toBe('1002');
    await done();
  });

  it('shows a fresh plan when somebody else moved the group meanwhile', async () => {
    await place('?to=900');
    await page.locator('[data-plan="rewind"]').waitFor();
    const other = await broker.call<{ id: string }>('POST', `/topics/${topic}/groups/billing/plans`, { to: { offset: '10' } });
    await broker.call('POST', `/plans/${other.id}:apply`, {});
    await apply();
    await page.getByText('Nothing was done; this is a fresh').waitFor();
    expect(await cursor(), 'nothing was done').toBe(10n);
    await page.locator('[data-plan="skip"]').waitFor(); // now 900 lies ahead
    await apply();
    await page.getByRole('button', { name: /Undo/ }).waitFor();
    expect(await cursor()).toBe(900n);
    await done();
  });

  it('replays into a new group and leaves the old one', async () => {
    const before = await cursor();
    await place('?to=100');
    await page.getByRole('button', { name: 'Leave it; replay into a new group…' }).click();
    await page.getByRole('button', { name: 'Create group' }).click();
    await page.getByRole('heading', { name: 'billing-replay' }).waitFor();
    expect(await cursor()).toBe(before);
    const got = await broker.pull(topic, 'billing-replay', 4);
    expect(got.map((d) => d.offset)).toEqual(['100', '101', '102', '105']);
    await done();
  });

  it('tries a filter on history with the numbers of a count by hand, sets it and takes it back', async () => {
    await go(page, broker.url, `#/topics/${topic}/groups/billing/filter`);
    await page.getByLabel('New filter').fill('+.+.paid');
    await page.locator('div:not(.stale) > .diff').waitFor(); // not those of the filter before
    const kept = total * (2 / 5);
    const numbers = await page.locator('.diff dd').allTextContents();
    expect(numbers).toEqual([String(kept), String(total / 5), String(total / 5)]);
    const start = Number(await cursor());
    const pendingLost = Array.from({ length: total }, (_, i) => i).filter((i) => i >= start && i % 5 === 2).length;
    await page.getByText(`${pendingLost} lost messages are still pending`).waitFor();
    await page.getByLabel('New filter').fill('!');
    await page.getByText('Nothing follows the !').waitFor();
    expect(await page.getByRole('button', { name: 'Set the filter' }).isDisabled()).toBe(true);
    await page.getByLabel('New filter').fill('+.+.paid');
    await page.getByRole('button', { name: 'Set the filter' }).click();
    await page.getByRole('button', { name: /Undo/ }).waitFor();
    expect((await broker.group(topic, 'billing')).filter).toBe('+.+.paid');
    await page.getByRole('button', { name: /Undo/ }).click();
    await page.getByText(`Set the filter of billing in ${topic} back, from +.+.paid to eu.*?`).waitFor();
    await page.getByRole('button', { name: 'Undo', exact: true }).click();
    await page.getByText('Undone').waitFor();
    expect((await broker.group(topic, 'billing')).filter).toBe('eu.*');
    await done();
  });

  it('changes nothing by a single key, whatever can be undone', async () => {
    await go(page, broker.url, `#/topics/${topic}/groups/billing/filter`);
    await page.getByLabel('New filter').fill('+.+.paid');
    await page.getByRole('button', { name: 'Set the filter' }).click();
    await page.getByRole('button', { name: /Undo/ }).waitFor();
    const changes: string[] = [];
    page.on('request', (r) => {
      if (r.method() !== 'GET' && !/\/(plans|filters:test)$/.test(r.url())) changes.push(`${r.method()} ${r.url()}`);
    });
    const keys = [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?/+-*=#[]', 'Enter', 'Delete', 'Backspace', 'Space', 'Insert', 'F2', 'F8'];
    for (const hash of [`#/topics/${topic}/groups/billing/filter`, `#/topics/${topic}/groups/billing/journal`, `#/topics/${topic}/groups/billing`, `#/topics/${topic}/messages`, '#/topics', '#/groups', '#/sessions', '#/']) {
      for (const key of keys) {
        await page.evaluate((h) => {
          document.querySelector('dialog[open]')?.dispatchEvent(new Event('close'));
          if (location.hash !== h) location.hash = h;
          (document.activeElement as HTMLElement | null)?.blur();
        }, hash);
        await page.keyboard.press(key);
      }
      expect(changes, hash).toEqual([]);
    }
    expect((await broker.group(topic, 'billing')).filter).toBe('+.+.paid');
    await done();
  });

  it('lists every move in the journal, each with its way back', async () => {
    const before = await cursor();
    const plan = await broker.call<{ id: string }>('POST', `/topics/${topic}/groups/billing/plans`, { to: 'latest' });
    await broker.call('POST', `/plans/${plan.id}:apply`, { reason: 'skip poison' });
    await go(page, broker.url, `#/topics/${topic}/groups/billing/journal`);
    await page.getByText('skip poison').waitFor();
    await page.getByRole('button', { name: 'Return here…' }).click();
    await page.getByRole('button', { name: 'Revert', exact: true }).click();
    await page.getByText(`billing is back at #${before.toLocaleString('en-US')}`).waitFor();
    expect(await cursor()).toBe(before);
    await done();
  });

  it('shows one lag everywhere: what passes the filter', async () => {
    const { lag } = await broker.group(topic, 'billing');
    expect(Number(lag)).toBe(600); // of 2,000 three in five pass, and 600 of these were pulled
    for (const n of ['1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12', '13', '14', '15'].map((x) => `orders-${x}`)) {
      if (n !== topic) await broker.call('DELETE', `/topics/${n}`).catch(() => undefined);
    }
    await go(page, broker.url, '#/');
    const tile = page.locator('.tile').filter({ has: page.getByText('Lag', { exact: true }) });
    await expect.poll(() => tile.locator('.value').textContent()).toMatch(/^(≈ )?6\d\d$|^(≈ )?5\d\d$/);
    const figure = async (name: string) => {
      const metrics = await (await fetch(`${broker.url}/metrics`)).text();
      return Number(new RegExp(`^${name}\\{group="billing",topic="${topic}"\\} (\\S+)`, 'm').exec(metrics)?.[1]);
    };
    await expect.poll(async () => Math.abs((await figure('zbus_group_lag_messages')) - 600)).toBeLessThan(30);
    await expect.poll(() => figure('zbus_group_oldest_seconds')).toBeGreaterThan(0);
    await go(page, broker.url, `#/topics/${topic}/groups/billing`);
    expect(await page.locator('.figures').textContent()).not.toMatch(/grows.*to drain|to drain.*grows/);
    await done();
  });

  it('asks before consumers have to ack that never did', async () => {
    const socket = connect(Number(new URL(broker.url).port), '127.0.0.1');
    socket.write(`GET / HTTP/1.1\r\ncmd: consume\r\ntopic: ${topic}\r\nconsume_group: billing\r\nwindow: 1\r\nid: 1\r\n\r\n`);
    socket.resume();
    const settle = async () => (await broker.call<{ settle: string }>('GET', `/topics/${topic}/groups/billing`)).settle;
    await go(page, broker.url, `#/topics/${topic}/groups/billing/settings`);
    await page.locator('.figures div').filter({ hasText: 'Consumers' }).getByText('1', { exact: true }).waitFor();
    await page.getByLabel('when the consumer acked it (explicit)').check();
    await page.getByRole('button', { name: 'Change the group' }).click();
    const question = page.getByRole('dialog', { name: 'Wait for acks in billing' });
    await question.getByText('1 consumer is connected.').waitFor();
    await question.getByText('each message comes again after 10 s').waitFor();
    await page.keyboard.press('Enter'); // the first button is the one that changes nothing
    await question.waitFor({ state: 'detached' });
    expect(await settle()).toBe('auto');
    await page.getByRole('button', { name: 'Change the group' }).click();
    await question.getByRole('button', { name: 'They ack: change the group' }).click();
    await page.getByText('The group was changed').waitFor();
    expect(await settle()).toBe('explicit');
    socket.destroy();
    await done();
  });

  it('changes a group against what it was, not over what somebody else made of it', async () => {
    await go(page, broker.url, `#/topics/${topic}/groups/billing/settings`);
    await page.getByLabel('Max deliveries (0 = unlimited)').fill('5');
    await page.getByRole('button', { name: 'Change the group' }).click();
    await page.getByText('The group was changed').waitFor();
    await page.getByRole('button', { name: 'Delete…' }).click();
    const remove = page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true });
    expect(await remove.isDisabled()).toBe(true);
    await page.getByLabel('Type billing to confirm').fill('billing');
    // While it is removed the page does not ask for it, even when it was changed a moment before;
    // and when the answer comes after the figures that say so, nothing asks for it.
    let removing = false;
    const asked: string[] = [];
    await page.route('**/groups/billing', async (route) => {
      const method = route.request().method();
      if (removing) asked.push(method);
      if (method !== 'DELETE') return route.continue();
      removing = true;
      await broker.call('PATCH', `/topics/${topic}/groups/billing`, { paused: true });
      await page.getByText('paused', { exact: true }).waitFor();
      const response = await route.fetch();
      await page.getByText('There is no group billing').waitFor();
      await route.fulfill({ response });
    });
    await remove.click();
    await page.getByText('No group yet').waitFor();
    expect(asked).toEqual([]);
    await expect(broker.group(topic, 'billing')).rejects.toThrow('404');
    await done();
  });
});
