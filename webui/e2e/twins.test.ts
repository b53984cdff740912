// What is shown beside an action does it: the curl, and the zbus command where there is one.
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { binary, Broker } from './broker';
import { go, launch, open, there, type View } from './browser';
import { calculator } from './provider';

describe.skipIf(!there)('twins', () => {
  const broker = new Broker();
  let dir = '';
  let zbus = ''; // the binary, or nothing when it has no commands
  let browser: Browser;
  let view: View;
  let page: Page;

  beforeAll(async () => {
    await broker.start();
    dir = mkdtempSync(join(tmpdir(), 'zbus-twins-'));
    symlinkSync(process.env.CLI ?? binary(), join(dir, 'zbus'));
    if (execFileSync(join(dir, 'zbus'), ['topic', 'create', '--help']).includes('zbus topic create')) zbus = join(dir, 'zbus');
    else console.error('NOT TESTED: zbus commands: this binary has none');
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    await broker.close();
    rmSync(dir, { recursive: true, force: true });
  });
  beforeEach(async () => {
    view = await open(browser, broker.url, { allow: /status of 4\d\d/ });
    page = view.page;
  });
  const done = async () => {
    view.clean();
    await view.context.close();
  };
  // Only what a person would see counts, so the text is taken from the page.
  const shown = async (name: 'curl' | 'zbus', within = page.getByRole('dialog')) => {
    const pre = within.getByRole('group', { name, exact: true }).last();
    if (!(await pre.isVisible())) await within.locator('.curl summary').last().click();
    return (await pre.textContent())!;
  };
  const sh = async (text: string) => (await promisify(execFile)('sh', ['-ec', text], { cwd: dir, env: { ...process.env, PATH: dir + delimiter + process.env.PATH } })).stdout;
  const topic = (name: string) => broker.call<{ kind: string; retention: object }>('GET', `/topics/${name}`);

  it('make a topic as the form would', async () => {
    for (const [name, twin] of [['by-curl', 'curl'], ['by-zbus', 'zbus']] as const) {
      if (twin === 'zbus' && !zbus) continue;
      await go(page, broker.url, '#/topics?new=1');
      await page.getByLabel('Name', { exact: true }).fill(name);
      await page.getByLabel('Age', { exact: true }).fill('7d');
      await sh(await shown(twin));
      expect((await topic(name)).retention).toEqual({ maxAge: 604_800_000 });
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' }); // its end changes the address
    }
    await done();
  });

  it('publish and delete', async () => {
    for (const twin of ['curl', 'zbus'] as const) {
      if (twin === 'zbus' && !zbus) continue;
      const name = `doomed-by-${twin}`;
      await broker.call('POST', '/topics', { name });
      await go(page, broker.url, `#/topics/${name}`);
      await page.getByRole('button', { name: 'Publish', exact: true }).click();
      await page.getByLabel('Tag', { exact: true }).fill('eu.de');
      await page.getByLabel('Key', { exact: true }).fill('k-1');
      await page.getByLabel('Body', { exact: true }).fill(`{"n":12345678901234567890,"who":"it's $HOME"}`);
      await sh(await shown(twin));
      expect(await broker.call('GET', `/topics/${name}/messages/0`)).toMatchObject({ tag: 'eu.de', key: 'k-1', body: `{"n":12345678901234567890,"who":"it's $HOME"}` });
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
      await page.getByRole('button', { name: 'Delete…' }).click();
      await page.getByRole('dialog').waitFor();
      await sh(await shown(twin));
      await expect(topic(name)).rejects.toThrow('404');
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
    }
    await done();
  });

  it('move a group', async () => {
    await broker.call('POST', '/topics', { name: 'moved' });
    await broker.publish('moved', Array.from({ length: 20 }, () => ({ body: 'x' })));
    await broker.call('POST', '/topics/moved/groups', { name: 'g', start: 'earliest' });
    if (zbus) {
      await go(page, broker.url, '#/topics/moved/groups/g?to=7');
      await page.locator('[data-plan]').waitFor();
      await page.getByLabel('Reason, for the journal').fill('by a command');
      await sh(await shown('zbus', page.getByRole('region', { name: 'Plan' })));
      expect((await broker.group('moved', 'g')).cursor).toBe('7');
    }
    await done();
  });

  it('call a service, with every digit', async () => {
    const provider = await calculator(broker, 'calc');
    await go(page, broker.url, `#/rpc/calc?method=echo&params=${encodeURIComponent('[12345678901234567890]')}`);
    const form = page.getByRole('region', { name: 'Try it' });
    await form.waitFor();
    for (const twin of ['curl', 'zbus'] as const) if (twin === 'curl' || zbus) expect(await sh(await shown(twin, form))).toContain('12345678901234567890');
    expect(provider.calls).toHaveLength(zbus ? 2 : 1);
    provider.close();
    await done();
  });

  it('pause a topic, which is offered afterwards', async () => {
    await broker.call('POST', '/topics', { name: 'paused' });
    await view.context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: broker.url });
    await go(page, broker.url, '#/topics/paused');
    await page.getByRole('button', { name: 'Pause', exact: true }).click();
    await page.getByRole('status').getByRole('button', { name: 'curl' }).click();
    // That it was copied is said for a moment only.
    await expect.poll(() => page.evaluate(() => navigator.clipboard.readText())).toContain('/topics/paused:pause');
    await broker.call('POST', '/topics/paused:resume');
    await sh(await page.evaluate(() => navigator.clipboard.readText()));
    expect(await broker.call('GET', '/topics/paused')).toMatchObject({ paused: true });
    await done();
  });
});
