// Accounts in the console: the first administrator, logging in and out, what one may not do,
// and tokens. Where SHOTS names a directory, pictures are kept there for people to look at.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker } from './broker';
import { accessible, go, keys, launch, open, resize, there, type Look, type View } from './browser';

const { SHOTS: shots } = process.env;
const password = 'correct horse';
const denied = /status of 40[013]|status of 429|WebSocket connection/;

/** look looks at what is shown, in both lights and two widths; dark: colours of its own. */
async function look(page: Page, name: string, dark = false) {
  for (const width of [390, 1280]) {
    for (const theme of ['light', 'dark'] as const) {
      await resize(page, { width, theme });
      if (shots) await page.screenshot({ path: join(shots, `${name}-${theme}-${width}.png`) });
    }
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    expect(over, `${name}: pixels that hang over the side of ${width}`).toBeLessThanOrEqual(0);
  }
  if (dark) await accessible(page, `${name} dark`, ['color-contrast']);
  await page.emulateMedia({ colorScheme: 'light' });
  await accessible(page, name);
}

describe.skipIf(!there)('access', () => {
  const broker = new Broker();
  let browser: Browser;

  beforeAll(async () => {
    if (shots) mkdirSync(shots, { recursive: true });
    [browser] = await Promise.all([launch(), broker.start('--auth', 'on')]);
  });
  afterAll(async () => {
    await browser?.close();
    await broker.close();
  });
  const view = (look: Look = {}): Promise<View> => open(browser, broker.url, { allow: denied, ...look });
  const heading = (page: Page, name: string) => page.getByRole('heading', { name, level: 1 });
  async function fillIn(page: Page, account: string, secret = password) {
    await page.getByLabel('Account', { exact: true }).fill(account);
    await page.getByLabel('Password', { exact: true }).fill(secret);
  }
  async function login(page: Page, account: string, hash = '#/') {
    await page.goto(`${broker.url}/ui/${hash}`);
    await fillIn(page, account);
    await page.keyboard.press('Enter');
    await page.locator('[data-state="live"]').waitFor();
  }

  it('is closed until the link that the broker prints has set an administrator, who is logged in', async () => {
    const { page, context, clean } = await view();
    await page.goto(`${broker.url}/ui/#/topics`);
    await heading(page, 'No administrator yet').waitFor();
    await look(page, 'no-administrator');
    const link = broker.setup;
    const secret = link.split('#')[1]!;
    expect(link).toBe(`${broker.url}/ui/setup#${secret}`);
    await page.goto(link);
    await heading(page, 'Set the first administrator').waitFor();
    expect(page.url()).toBe(`${broker.url}/ui/`);
    await look(page, 'setup');
    await fillIn(page, 'Anna');
    await page.getByLabel('Password, again').fill('incorrect horse');
    await page.getByText('not the same').waitFor();
    expect(await page.getByRole('button', { name: 'Set the first administrator' }).isDisabled()).toBe(true);
    await page.getByLabel('Password, again').fill(password);
    await page.keyboard.press('Enter');
    await page.locator('summary').filter({ hasText: 'anna' }).waitFor();
    await page.locator('[data-state="live"]').waitFor();
    expect(await page.evaluate(() => document.documentElement.outerHTML + location.href + JSON.stringify(history.state))).not.toContain(secret);
    clean();
    const cookies = await context.cookies();
    expect(cookies).toMatchObject([{ name: `zbus-login-${new URL(broker.url).port}`, httpOnly: true, sameSite: 'Strict' }]);
    broker.auth = { Cookie: `${cookies[0]!.name}=${cookies[0]!.value}` };
    await context.close();

    // What the other tests need, and the link that is used up.
    for (const name of ['orders', 'orders.eu', 'payments']) await broker.call('POST', '/topics', { name });
    await broker.call('POST', '/topics/orders/groups', { name: 'billing', filter: 'eu.*', start: 'earliest' });
    await broker.publish('orders', Array.from({ length: 20 }, (_, i) => ({ tag: 'eu.paid', body: `{"n":${i}}` })));
    await broker.call('PATCH', '/topics/orders/groups/billing', { filter: 'eu.paid' });
    await broker.call('POST', '/accounts', { name: 'vera', password, roles: ['viewer'] });
    await broker.call('POST', '/accounts', { name: 'paul', password, grants: ['publish:orders.#'] });
    await broker.call('POST', '/accounts', { name: 'shop', grants: ['publish,browse:orders.#', 'consume:orders/{account}'], note: 'the web shop' });
    await broker.call('PUT', '/roles/desk', { note: 'the help desk', grants: ['browse:orders.#', 'move:orders/desk'] });
    const late = await view();
    await late.page.goto(link);
    await late.page.getByText('This broker has an administrator already.').waitFor();
    late.clean();
    await late.context.close();
  });

  it('is entered with name and password, by keys alone, and leads to where one wanted to go', async () => {
    const { page, context, clean } = await view();
    await page.goto(`${broker.url}/ui/#/topics/orders/groups`);
    await heading(page, 'Log in').waitFor();
    await page.keyboard.type('anna');
    await page.keyboard.press('Tab');
    await page.keyboard.type('wrong');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').filter({ hasText: 'The account or the password is wrong.' }).waitFor();
    await look(page, 'login', true);
    await page.keyboard.type(password); // the password has the focus, and is empty
    await page.keyboard.press('Enter');
    await page.getByRole('link', { name: 'billing' }).waitFor();
    expect(page.url()).toBe(`${broker.url}/ui/#/topics/orders/groups`);
    await page.locator('summary').filter({ hasText: 'anna' }).click();
    await look(page, 'account-menu');
    await page.getByRole('button', { name: 'Log out' }).click();
    await heading(page, 'Log in').waitFor();
    await expect.poll(() => page.content()).not.toContain('billing');
    clean();
    await context.close();
  });

  it('leaves a viewer no control that changes anything, and says what each of them needs', async () => {
    const { page, context, clean } = await view();
    await login(page, 'vera');
    const changes = /^(Publish|Pause|Resume|Empty|Delete|New |Create|Change |Set the|Move|Plan$|oldest$|end$|Return|Revert…|Disconnect|Apply|Call$|To another|Publish again|Start a group|See what would)/;
    const group = '#/topics/orders/groups/billing';
    let seen = 0;
    const places = ['#/', '#/topics', '#/topics?new=1', '#/topics/orders/messages?at=3', '#/topics/orders/groups', '#/topics/orders/settings', '#/groups', group, `${group}/filter`, `${group}/journal`, `${group}/settings`, '#/rpc', '#/servers', '#/sessions', '#/audit', '#/access', '#/access/tokens', '#/access/roles', '#/settings/definitions'];
    for (const hash of places) {
      await page.evaluate((hash) => (location.hash = hash), hash);
      await page.locator(hash.includes('new=1') ? 'dialog[open]' : hash.includes('at=3') ? '.inspector pre' : hash.endsWith('journal') ? 'tbody button' : hash === group ? '[data-place]' : 'main').first().waitFor();
      const changing = async () => {
        const found = await page.locator('button').evaluateAll((all) => all.filter((b) => b.checkVisibility()).map((b) => ({ text: b.textContent!.trim(), off: (b as HTMLButtonElement).disabled, lacks: b.getAttribute('aria-disabled') === 'true' ? b.getAttribute('title') : '' })));
        return found.filter((b) => changes.test(b.text) && b.text !== 'Pause live figures');
      };
      // The page that was shown before may still be leaving.
      await expect.poll(async () => (await changing()).filter((b) => !b.off && !/^Needs the grant \w/.test(b.lacks ?? '')), { message: hash }).toEqual([]);
      seen += (await changing()).filter((b) => b.lacks).length;
      if (!hash.includes('new=1')) continue;
      await page.keyboard.press('Escape');
      await page.locator('dialog[open]').waitFor({ state: 'detached' }); // its end changes the address
    }
    expect(seen).toBeGreaterThan(20);
    for (const hash of ['#/sessions', '#/audit', '#/access']) {
      await page.evaluate((hash) => (location.hash = hash), hash);
      await page.getByText('This is shown to accounts with the grant').waitFor();
    }
    await look(page, 'lacking');
    await page.evaluate(() => (location.hash = '#/topics/orders/settings'));
    const button = page.getByRole('button', { name: 'Delete…' });
    // It takes no focus before there are figures of the topic.
    await expect.poll(() => button.focus().then(() => button.evaluate((b) => b === document.activeElement))).toBe(true);
    await page.keyboard.press('Enter');
    await page.getByRole('status').getByText('Needs the grant move:orders').waitFor();
    expect(await page.locator('dialog[open]').count()).toBe(0);
    clean();
    await context.close();
  });

  it('shows who sees some topics just these, without a warning', async () => {
    const { page, context, clean } = await view({ allow: undefined });
    await page.goto(`${broker.url}/ui/`);
    await fillIn(page, 'paul');
    await page.keyboard.press('Enter');
    await page.locator('td a').filter({ hasText: 'orders.eu' }).waitFor();
    await expect.poll(() => page.locator('td a').count()).toBe(2);
    await page.getByText('This is shown to accounts with the grant observe.').first().waitFor();
    await page.evaluate(() => (location.hash = '#/topics/orders/messages'));
    await page.getByText('the grant browse:orders.').waitFor();
    await page.getByRole('button', { name: 'Publish', exact: true }).click();
    await page.getByLabel('Body', { exact: true }).fill('by paul');
    await page.getByRole('dialog').getByRole('button', { name: 'Publish', exact: true }).click();
    await page.getByText('#20').waitFor();
    await page.locator('[data-state="live"]').waitFor();
    expect(await page.locator('.alarm').count()).toBe(0);
    clean();
    await context.close();
  });

  it('gives a token a new secret, and what was open with the old one ends', async () => {
    const { page, context, clean } = await view();
    await broker.call('POST', '/accounts', { name: 'till', roles: ['consumer'] });
    const old = await broker.call<{ id: string; token: string }>('POST', '/tokens', { account: 'till' });
    const asks = async (token: string) => (await fetch(`${broker.url}/api/v1/whoami`, { headers: { Authorization: `Bearer ${token}` } })).status;
    expect(await asks(old.token)).toBe(200);
    await broker.call('POST', '/topics/orders/groups', { name: 'till', filter: 'nothing', settle: 'explicit' });
    // Pulls that wait for messages, which do not come, a minute each.
    const pull = () => fetch(`${broker.url}/api/v1/topics/orders/groups/till:pull`, { method: 'POST', headers: { Authorization: `Bearer ${old.token}`, 'Content-Type': 'application/json' }, body: '{"timeout":60000}' });
    const ended = (async () => {
      for (;;) {
        const status = await pull().then((r) => r.status, () => 0);
        if (status !== 200) return status;
      }
    })();
    const sessions = async () => (await broker.call<{ sessions: unknown[] }>('GET', '/sessions?topic=orders')).sessions;
    await expect.poll(sessions, { timeout: 45_000 }).toHaveLength(1);
    await login(page, 'anna', '#/access/tokens');
    await page.getByRole('row').filter({ hasText: old.id }).getByRole('button', { name: 'Rotate…' }).click();
    await page.getByRole('dialog').getByText('The old one stops working at once').waitFor();
    await look(page, 'rotate-token');
    await page.getByRole('button', { name: 'Rotate', exact: true }).click();
    const token = (await page.locator('[data-secret]').textContent())!;
    expect(token).toMatch(new RegExp(`^zb_${old.id}_`));
    expect(token).not.toBe(old.token);
    expect([await asks(old.token), await asks(token)]).toEqual([401, 200]);
    await expect.poll(sessions, { timeout: 30_000 }).toEqual([]); // long before its minute is over
    await ended;
    await page.getByRole('button', { name: 'Done' }).click();
    await expect.poll(() => page.content()).not.toContain(token);
    await page.getByRole('row').filter({ hasText: old.id }).getByRole('button', { name: 'Revoke…' }).click();
    await page.getByRole('button', { name: 'Revoke', exact: true }).click();
    await page.getByRole('row').filter({ hasText: old.id }).waitFor({ state: 'detached' });
    expect(await asks(token)).toBe(401);
    await broker.call('DELETE', '/topics/orders/groups/till');
    await broker.call('DELETE', '/accounts/till');
    clean();
    await context.close();
  });

  it('manages accounts, roles and tokens, and says which grant decides', async () => {
    const { page, context, clean } = await view();
    await login(page, 'anna', '#/topics');
    await keys(page, 'g', 'c');
    await page.getByRole('row').filter({ hasText: 'shop' }).waitFor();
    await look(page, 'accounts', true);
    await page.getByRole('button', { name: 'New account' }).click();
    await page.getByLabel('Name', { exact: true }).fill('depot');
    await page.getByLabel('Roles', { exact: true }).fill('desk ');
    await page.getByLabel('Grants', { exact: true }).fill('publish');
    await page.getByRole('button', { name: 'Add the account' }).click();
    await page.getByRole('alert').filter({ hasText: 'the topic is missing' }).waitFor();
    await look(page, 'new-account', true);
    await page.getByRole('button', { name: 'Remove publish' }).click();
    await page.keyboard.type('publish:depot.#');
    await page.keyboard.press('Enter');
    await page.getByLabel('Limits', { exact: true }).fill('messages=many');
    expect(await page.getByRole('button', { name: 'Add the account' }).isDisabled()).toBe(true);
    await page.getByLabel('Limits', { exact: true }).fill('messages=100 bytes=4MiB');
    await page.getByRole('button', { name: 'Add the account' }).click();
    await page.getByRole('row').filter({ hasText: 'depot' }).waitFor();
    expect(await broker.call('GET', '/accounts/depot')).toMatchObject({ kind: 'program', roles: ['desk'], grants: ['publish:depot.#'], limits: { messages: 100, bytes: 4 << 20 } });
    await page.getByRole('row').filter({ hasText: 'depot' }).getByRole('button', { name: 'Change…' }).click();
    expect(await page.getByLabel('Limits', { exact: true }).inputValue()).toBe('messages=100 bytes=4MiB');
    await page.getByLabel('Limits', { exact: true }).fill('');
    await page.getByRole('button', { name: 'Change the account' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    expect(await broker.call('GET', '/accounts/depot')).not.toHaveProperty('limits');

    await page.keyboard.press('3');
    await page.getByText('the help desk').waitFor();
    await look(page, 'roles');
    // A role keeps its limits when something else of it is changed.
    const desk = await broker.call<{ grants: string[] }>('GET', '/roles').then((x) => (x as unknown as { roles: { name: string; grants: string[] }[] }).roles.find((r) => r.name === 'desk')!);
    await broker.call('PUT', '/roles/desk', { note: 'the help desk', grants: desk.grants, limits: { calls: 7 } });
    await page.reload();
    await page.getByText('calls=7').waitFor();
    await page.getByRole('listitem').filter({ hasText: 'desk' }).getByRole('button', { name: 'Change…' }).click();
    await page.getByLabel('Note', { exact: true }).fill('the help desk, all of it');
    await page.getByRole('button', { name: 'Change the role' }).click();
    await page.getByText('all of it').waitFor();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    expect(await broker.call('GET', '/roles')).toMatchObject({ roles: expect.arrayContaining([expect.objectContaining({ name: 'desk', limits: { calls: 7 } })]) as unknown });
    expect(await page.getByRole('listitem').filter({ hasText: 'built in' }).getByRole('button').count()).toBe(0);

    await page.keyboard.press('2');
    await page.getByRole('button', { name: 'New token' }).click();
    await page.getByLabel('Account', { exact: true }).fill('depot');
    await page.getByLabel('Scopes', { exact: true }).fill('browse:orders.eu');
    await page.getByRole('button', { name: 'Create token' }).click();
    const token = (await page.locator('[data-secret]').textContent())!;
    expect(token).toMatch(/^zb_/);
    await look(page, 'new-token');
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.getByRole('button', { name: 'Copy the token' }).click();
    await expect.poll(() => page.evaluate(() => navigator.clipboard.readText())).toBe(token);
    const ask = async (topic: string) => (await fetch(`${broker.url}/api/v1/topics/${topic}/messages`, { headers: { Authorization: `Bearer ${token}` } })).status;
    expect([await ask('orders.eu'), await ask('orders')]).toEqual([200, 404]);
    await page.getByRole('button', { name: 'Done' }).click();
    await expect.poll(() => page.content()).not.toContain(token);
    await page.getByRole('row').filter({ hasText: 'depot' }).waitFor();
    await look(page, 'tokens');
    await page.getByRole('button', { name: 'Revoke…' }).click();
    await page.getByRole('dialog').getByText('It stops working at once').waitFor();
    await page.getByRole('button', { name: 'Revoke', exact: true }).click();
    await page.getByText('There are no tokens.').waitFor();
    expect(await ask('orders.eu')).toBe(401);

    await page.keyboard.press('4');
    await page.getByLabel('Account', { exact: true }).fill('depot');
    await page.getByLabel('Verb').selectOption('move');
    await page.getByLabel('Topic', { exact: true }).fill('orders');
    await page.getByText('it lacks move:orders').waitFor();
    await page.getByLabel('Group', { exact: true }).fill('desk');
    await page.getByText('by move:orders/desk (role desk)').waitFor();
    await look(page, 'check', true);
    clean();
    await context.close();
  });

  it('leads to the login when the account is disabled, and keeps what was typed for the same person', async () => {
    const { page, context, clean } = await view();
    await login(page, 'paul', '#/topics/orders/messages');
    await page.getByRole('button', { name: 'Publish', exact: true }).click();
    await page.getByLabel('Body', { exact: true }).fill('half a thought');
    await broker.call('PATCH', '/accounts/paul', { disabled: true });
    await heading(page, 'Log in').waitFor();
    expect(page.url()).toBe(`${broker.url}/ui/#/topics/orders/messages`);
    // Not even for the moment until it would be opened again.
    await page.evaluate(() => document.querySelector('dialog[aria-label="zbus"]')!.addEventListener('close', () => document.documentElement.setAttribute('data-closed', '')));
    for (let i = 0; i < 3; i++) await page.keyboard.press('Escape');
    expect(await heading(page, 'Log in').isVisible()).toBe(true);
    expect(await page.locator('[data-closed]').count()).toBe(0);
    await broker.call('PATCH', '/accounts/paul', { disabled: false });
    expect(await page.getByLabel('Account', { exact: true }).inputValue()).toBe('paul');
    await page.getByLabel('Password', { exact: true }).fill(password);
    await page.keyboard.press('Enter');
    await heading(page, 'Log in').waitFor({ state: 'detached' });
    expect(await page.getByLabel('Body', { exact: true }).inputValue()).toBe('half a thought');
    await page.locator('[data-state="live"]').waitFor();

    // The password that one sets oneself ends all logins but this one.
    await page.keyboard.press('Escape');
    await page.locator('summary').filter({ hasText: 'paul' }).click();
    await page.getByRole('button', { name: 'Change password…' }).click();
    await page.getByLabel('Present password').fill(password);
    await page.getByLabel('New password').fill('another horse');
    await page.keyboard.press('Enter');
    await page.getByText('The password was changed.').waitFor();
    expect(await heading(page, 'Log in').count()).toBe(0);
    clean();
    await context.close();
  });

  it('counts down how long to wait after too many wrong passwords', async () => {
    const { page, context, clean } = await view();
    await page.goto(`${broker.url}/ui/`);
    const wait = page.getByRole('timer');
    for (let i = 0; i < 8 && !(await wait.isVisible()); i++) {
      await fillIn(page, 'anna', `guess ${i}`);
      await page.keyboard.press('Enter');
      await page.locator('[role=alert], [role=timer]').first().waitFor();
      await page.waitForFunction(() => !document.querySelector('main button[disabled]') || document.querySelector('[role=timer]'));
    }
    // In one look: some seconds later it is over.
    const [first, closed] = await page.waitForFunction(() => {
      const timer = document.querySelector('[role=timer]');
      return timer && ([timer.textContent!, document.querySelector('main button[disabled]') !== null] as const);
    }).then((seen) => seen.jsonValue() as Promise<[string, boolean]>);
    expect(first).toMatch(/Too many failed logins\. Try again in \d+ s/);
    expect(closed, 'the button is disabled').toBe(true);
    await page.waitForFunction((first) => document.querySelector('[role=timer]')?.textContent !== first, first);
    clean();
    await context.close();
  });
});

describe.skipIf(!there)('access that is off', () => {
  const broker = new Broker();
  let browser: Browser;
  beforeAll(async () => {
    [browser] = await Promise.all([launch(), broker.start()]);
  });
  afterAll(async () => {
    await browser?.close();
    await broker.close();
  });

  it('is said on each page, until the first account turns it on', async () => {
    const { page, context, clean } = await open(browser, broker.url, { allow: denied });
    await go(page, broker.url, '#/topics');
    const notice = page.getByRole('note').filter({ hasText: 'Access is off: all clients may do everything.' });
    await notice.waitFor();
    await look(page, 'off');
    await notice.getByRole('link', { name: 'Access' }).click();
    await page.getByRole('button', { name: 'New account' }).click();
    await page.getByLabel('Name', { exact: true }).fill('anna');
    await page.getByLabel('Password', { exact: true }).fill(password);
    await page.getByRole('button', { name: 'Add the account' }).click();
    await page.locator('summary').filter({ hasText: 'anna' }).waitFor();
    await notice.waitFor({ state: 'detached' });
    await page.getByRole('row').filter({ hasText: 'anna' }).waitFor();
    expect((await fetch(`${broker.url}/api/v1/topics`)).status).toBe(401);
    clean();
    await context.close();
  });
});
