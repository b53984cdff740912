// Topics and messages: create, publish, look, and what must never run or round.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Broker } from './broker';
import { go, launch, open, there, type View } from './browser';

describe.skipIf(!there)('topics and messages', () => {
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
    view = await open(browser, broker.url, { allow: /status of 4\d\d/ });
    page = view.page;
  });
  const done = async () => {
    view.clean();
    await view.context.close();
  };
  const depth = async (topic: string) => (await broker.call<{ depth: string }>('GET', `/topics/${topic}`)).depth;

  it('brings a browser from / to the console, and curl to what it always got', async () => {
    await page.goto(broker.url);
    await page.waitForURL(/\/ui\//);
    await page.getByText('There are no topics yet.').waitFor();
    const plain = await fetch(broker.url, { redirect: 'manual', headers: { Accept: '*/*' } });
    expect(plain.status).toBe(200);
    await done();
  });

  it('creates, publishes and looks, and looking moves no cursor', async () => {
    await go(page, broker.url, '#/topics');
    await page.getByRole('button', { name: 'New topic' }).click();
    await page.getByLabel('Name', { exact: true }).fill('a b');
    await page.getByText('Only letters, digits').waitFor();
    await page.getByLabel('Name', { exact: true }).fill('shop.orders');
    await page.getByLabel('Age', { exact: true }).fill('7d');
    await page.getByText('The same with curl').click();
    expect(await page.getByRole('dialog').getByRole('group', { name: 'curl' }).textContent()).toContain(`--data-binary '{"name":"shop.orders","kind":"log","retention":{"maxAge":604800000}}'`);
    await page.getByRole('button', { name: 'Create topic' }).click();
    await page.getByText('Nothing was published yet.').waitFor();
    await broker.call('POST', '/topics/shop.orders/groups', { name: 'g', start: 'earliest' });

    await page.getByRole('button', { name: 'Publish', exact: true }).click();
    await page.getByLabel('Tag', { exact: true }).fill('eu.de');
    await page.getByLabel('Body', { exact: true }).fill('{"amount":12345678901234567890,"n":{{n}}}');
    await page.getByLabel('How many, in one commit').fill('3');
    await page.getByRole('button', { name: 'Publish 3' }).click();
    await page.getByRole('link', { name: '#0 – #2' }).click();
    const body = page.getByRole('group', { name: 'Body', exact: true });
    await expect.poll(() => body.textContent()).toContain('"amount": 12345678901234567890');
    expect((await broker.group('shop.orders', 'g')).cursor).toBe('0');
    expect((await broker.pull('shop.orders', 'g', 10)).map((d) => d.body)).toEqual([1, 2, 3].map((n) => `{"amount":12345678901234567890,"n":${n}}`));
    await done();
  });

  it('runs nothing that is in a message', async () => {
    const nasty = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;
    await broker.call('POST', '/topics', { name: 'nasty' });
    await broker.publish('nasty', [{ tag: '<b>tag</b>', id: "'\"><svg/onload=alert(1)>", headers: { 'x-h': nasty }, body: nasty }]);
    await go(page, broker.url, '#/topics/nasty/messages?at=0');
    const body = page.getByRole('group', { name: 'Body', exact: true });
    await expect.poll(() => body.textContent()).toContain(nasty);
    expect(await page.title()).not.toContain('owned');
    expect(await page.locator('main img, main script').count()).toBe(0);
    await done();
  });

  it('shows bytes as they are, and finds by tag, text and header what a count by hand finds', async () => {
    await broker.call('POST', '/topics', { name: 'mixed' });
    const all = Array.from({ length: 3000 }, (_, i) => ({ tag: ['a.x', 'a.y', 'b.x'][i % 3], headers: { lot: String(i % 7) }, body: i % 50 === 0 ? `needle ${i}` : `hay ${i}` }));
    await broker.publish('mixed', all);
    await broker.publish('mixed', [{ bodyBase64: Buffer.from([0, 255, 1, 65]).toString('base64') }]);
    await go(page, broker.url, '#/topics/mixed/messages?at=3000');
    await page.getByText('00000000  00 ff 01 41').waitFor();
    await go(page, broker.url, '#/topics/mixed/messages?tag=a.*&text=needle&header=lot%3D3&dir=next');
    const want = all.filter((m, i) => m.tag!.startsWith('a.') && i % 50 === 0 && i % 7 === 3).length;
    await page.getByText(`scanned 3,001 of 3,001 · ${want} hits`).waitFor();
    await expect.poll(() => page.getByRole('row').count()).toBe(want + 1);
    await done();
  });

  it('reopens a view from its address, with fates as seen by a group', async () => {
    await broker.call('POST', '/topics', { name: 'seen' });
    await broker.call('POST', '/topics/seen/groups', { name: 'g', filter: 'a.*', start: 'earliest' });
    await broker.publish('seen', Array.from({ length: 20 }, (_, i) => ({ tag: i % 2 ? 'a.x' : 'b.x', body: 'x' })));
    await broker.pull('seen', 'g', 4);
    await go(page, broker.url, '#/topics/seen/messages?group=g&from=5&at=7');
    await page.getByText('8 messages').or(page.getByText('8 hits')).first().waitFor();
    const fates = page.locator('.fates');
    await fates.getByText('settled').waitFor();
    await page.getByRole('button', { name: 'Newer message' }).click();
    await fates.getByText('filtered out by a.* at part 1').waitFor();
    expect(await page.evaluate(() => location.hash)).toBe('#/topics/seen/messages?group=g&from=5&at=8');
    await done();
  });

  it('pauses, resumes, empties and deletes, the last two only by name', async () => {
    await broker.call('POST', '/topics', { name: 'doomed' });
    await broker.publish('doomed', [{ body: 'a' }, { body: 'b' }]);
    await go(page, broker.url, '#/topics/doomed/messages');
    await page.getByRole('button', { name: 'Pause', exact: true }).click();
    await page.getByRole('button', { name: 'Resume', exact: true }).click();
    await page.getByRole('button', { name: 'Pause', exact: true }).waitFor();
    await page.getByRole('button', { name: 'Empty…' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('2 messages').waitFor();
    expect(await dialog.getByRole('button', { name: 'Drop the messages' }).isDisabled()).toBe(true);
    await dialog.getByLabel('Type doomed to confirm').fill('doomed');
    await dialog.getByRole('button', { name: 'Drop the messages' }).click();
    await page.getByText('all messages were dropped').waitFor();
    await page.getByText('No message found here.').waitFor();
    await expect.poll(() => page.getByRole('row').count(), { message: 'nothing is listed that is gone' }).toBe(2);
    await broker.publish('doomed', [{ body: 'c' }, { body: 'd' }]);
    await page.getByRole('button', { name: 'Reload' }).click();
    await page.getByText('2 messages').first().waitFor();
    await broker.call('POST', '/topics/doomed:empty'); // by somebody else
    await page.getByText('No message found here.').waitFor();
    expect(await depth('doomed')).toBe('0');
    await page.getByRole('button', { name: 'Delete…' }).click();
    await dialog.getByLabel('Type doomed to confirm').fill('doomed');
    await dialog.getByRole('button', { name: 'Delete', exact: true }).click();
    await page.getByRole('heading', { name: 'Topics' }).waitFor();
    await expect(depth('doomed')).rejects.toThrow('404');
    await done();
  });

  it('lists a topic as empty after Empty, wherever that was done', async () => {
    await broker.call('POST', '/topics', { name: 'listed' });
    await go(page, broker.url, '#/topics');
    await page.evaluate(() => ((window as unknown as { same: boolean }).same = true)); // what a reload would forget
    const row = page.getByRole('row').filter({ has: page.getByRole('link', { name: 'listed', exact: true }) });
    const messages = async () => (await row.getByRole('gridcell').nth(3).textContent())!.trim();
    const fill = async () => {
      await broker.publish('listed', [{ body: 'a' }, { body: 'b' }, { body: 'c' }]);
      await expect.poll(messages).toBe('3');
    };
    const confirm = async () => {
      const dialog = page.getByRole('dialog');
      await dialog.getByText('3 messages').waitFor();
      await dialog.getByLabel('Type listed to confirm').fill('listed');
      await dialog.getByRole('button', { name: 'Drop the messages' }).click();
      await page.getByText('listed: all messages were dropped.').first().waitFor();
    };
    const ways: Record<string, () => Promise<unknown>> = {
      'by another client': () => broker.call('POST', '/topics/listed:empty'),
      'from the list': async () => {
        await page.getByLabel('Select listed').check();
        await page.getByRole('button', { name: 'Empty…' }).click();
        await confirm();
      },
      'from the page of the topic': async () => {
        await row.getByRole('link', { name: 'listed', exact: true }).click();
        await page.getByRole('button', { name: 'Empty…' }).click();
        await confirm();
        await page.getByRole('link', { name: 'Topics', exact: true }).first().click();
      },
    };
    for (const [where, empty] of Object.entries(ways)) {
      await fill();
      await empty();
      await expect.poll(messages, { message: where }).toBe('0');
    }
    expect(await page.evaluate(() => (window as unknown as { same?: boolean }).same), 'the page was not loaded again').toBe(true);
    await done();
  });

  it('shows names of 200 characters in one line, whole on hover', async () => {
    const long = `${'the-orders-of-a-shop.'.repeat(9)}end-of-it`;
    await broker.call('POST', '/topics', { name: long });
    await broker.call('POST', `/topics/${long}/groups`, { name: `g-${long}`.slice(0, 190), start: 'earliest' });
    await broker.publish(long, [{ body: 'x' }]);
    for (const hash of [`#/topics/${long}`, `#/topics/${long}/groups/${`g-${long}`.slice(0, 190)}`]) {
      await go(page, broker.url, hash);
      const heading = page.locator('h1');
      await heading.locator('.name').waitFor();
      expect((await heading.boundingBox())!.height, hash).toBeLessThan(60);
      expect((await heading.locator('[title]').first().getAttribute('title'))!.length).toBeGreaterThan(180);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      expect(wide, 'pixels that hang over the side').toBeLessThanOrEqual(0);
    }
    await done();
  });

  it('finds a message by its id from any page', async () => {
    for (const name of ['deep.a', 'deep.b', 'deep.c']) await broker.call('POST', '/topics', { name });
    await broker.publish('deep.b', [{ body: 'x' }, { id: 'order-41207-paid', body: 'the one' }, { body: 'y' }]);
    await go(page, broker.url, '#/audit');
    const ask = async (id: string) => {
      await page.keyboard.press('Control+k');
      await page.getByRole('combobox').fill(id);
      await page.getByRole('option').filter({ hasText: 'in any topic' }).click();
    };
    await ask('order-99999-paid');
    await page.getByText('No topic has a message with the id order-99999-paid.').waitFor();
    await ask('order-41207-paid');
    await page.getByRole('heading', { name: '#1', exact: true }).waitFor();
    await page.getByRole('group', { name: 'Body', exact: true }).getByText('the one').waitFor();
    expect(await page.evaluate(() => location.hash)).toContain('#/topics/deep.b/messages');
    view.clean();
    await view.context.close();
  });

  it('offers nothing for a topic that does not exist', async () => {
    await go(page, broker.url, '#/topics/no-such-topic/messages');
    await page.getByText('There is no topic no-such-topic.').waitFor();
    for (const name of ['Publish', 'Pause', 'Empty…', 'Delete…']) expect(await page.getByRole('button', { name, exact: true }).isDisabled(), name).toBe(true);
    expect(await page.getByRole('navigation', { name: 'Parts of the topic' }).count()).toBe(0);
    expect(await page.locator('main form').count()).toBe(0);
    await done();
  });

  it('says that messages are pulled where no consumer is connected', async () => {
    await broker.call('POST', '/topics', { name: 'pulled' });
    await broker.call('POST', '/topics/pulled/groups', { name: 'g', start: 'earliest' });
    let pulling = true;
    const pulled = (async () => {
      while (pulling) {
        await broker.publish('pulled', [{ body: 'x' }, { body: 'y' }]);
        await broker.pull('pulled', 'g', 10);
        await new Promise((r) => setTimeout(r, 200));
      }
    })();
    await go(page, broker.url, '#/topics/pulled/groups/g');
    await page.locator('.figures').getByText('by pulls').waitFor();
    await go(page, broker.url, '#/topics');
    await page.getByRole('row').filter({ hasText: 'pulled' }).getByText('by pulls').waitFor();
    pulling = false;
    await pulled;
    await done();
  });

  it('says when somebody changed a topic meanwhile', async () => {
    await broker.call('POST', '/topics', { name: 'shared' });
    await go(page, broker.url, '#/topics/shared/settings');
    await page.getByLabel('Messages', { exact: true }).fill('1,000');
    await broker.call('PATCH', '/topics/shared', { retention: { maxCount: '7' } });
    await page.getByRole('button', { name: 'Change retention' }).click();
    await page.getByText('This topic has changed in the meantime').waitFor();
    const now = await broker.call<{ retention: { maxCount: string } }>('GET', '/topics/shared');
    expect(now.retention.maxCount).toBe('7');
    await done();
  });
});
