// Signing on with an issuer, in a real browser, with the pages of a real issuer.
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker } from './broker';
import { accessible, launch, open, there } from './browser';
import { Issuer } from './issuer';

describe.skipIf(!there)('single sign-on', () => {
  const broker = new Broker();
  const issuer = new Issuer();
  const partner = new Issuer();
  let browser: Browser;

  beforeAll(async () => {
    await Promise.all([issuer.start(), partner.start()]);
    [browser] = await Promise.all([
      launch(),
      broker.start('--sso-issuer', issuer.url, '--sso-client-id', 'console', '--sso-name-claim', 'preferred_username', '--sso-roles', 'staff=viewer', '--sso-roles', 'ops=admin', '--sso-issuer', `partner=${partner.url}`, '--sso-client-id', 'partner=console', '--sso-roles', 'partner=guests=viewer'),
    ]);
  });
  afterAll(async () => {
    await browser?.close();
    await broker.close();
    issuer.close();
    partner.close();
  });

  it('lets somebody in where he wanted to go, and out again; says why it does not; and is of one browser', async () => {
    const { page, context, clean } = await open(browser, broker.url, { allow: /status of 40[014]|WebSocket connection|another host: http:..localhost/ });
    issuer.person = { sub: '4711', preferred_username: 'Ann', groups: ['staff'] };
    await page.goto(`${broker.url}/ui/#/topics`);
    const button = page.getByRole('button', { name: 'Sign in with localhost' });
    await button.waitFor();
    await accessible(page, 'login with an issuer');
    await button.click();
    await page.getByRole('link', { name: 'Continue' }).click();
    await page.locator('summary').filter({ hasText: 'ann' }).waitFor();
    await page.locator('[data-state="live"]').waitFor();
    expect(page.url()).toBe(`${broker.url}/ui/#/topics`);
    const port = new URL(broker.url).port;
    const login = (await context.cookies()).filter((c) => c.name === `zbus-login-${port}`);
    expect(login).toMatchObject([{ httpOnly: true, sameSite: 'Strict' }]);
    await page.locator('summary').filter({ hasText: 'ann' }).click();
    await page.getByText(`signed in with ${issuer.url}`).waitFor();
    expect(await page.getByRole('button', { name: 'Change password…' }).count()).toBe(0);
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByRole('heading', { name: 'You are logged out of console' }).waitFor(); // at the issuer, too
    expect(page.url()).toContain(`${issuer.url}/logout?`);
    await page.getByRole('link', { name: 'Back' }).click();
    await button.waitFor();
    expect(page.url()).toMatch(`${broker.url}/ui/`);

    // A person of another issuer chooses that one.
    partner.person = { sub: 'bob', groups: ['guests'] };
    await page.getByRole('button', { name: 'Sign in with partner' }).click();
    await page.getByRole('link', { name: 'Continue' }).click();
    await page.locator('summary').filter({ hasText: 'bob@partner' }).click();
    await page.getByText(`signed in with ${partner.url}`).waitFor();
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByRole('link', { name: 'Back' }).click();
    await button.waitFor();

    // Who cancels, and who may do nothing here, is told.
    await button.click();
    await page.getByRole('link', { name: 'Cancel' }).click();
    await page.getByRole('alert').filter({ hasText: 'access_denied' }).waitFor();
    issuer.person = { sub: '4712', preferred_username: 'bob', groups: ['none'] };
    await button.click();
    await page.getByRole('link', { name: 'Continue' }).click();
    await page.getByRole('alert').filter({ hasText: 'none of the groups gives a role' }).waitFor();
    expect(page.url()).not.toContain('code=');

    // A link that somebody else has begun signs nobody on.
    issuer.person = { sub: '4711', preferred_username: 'mallory', groups: ['ops'] };
    const other = await open(browser, broker.url, {});
    await other.page.goto(`${broker.url}/ui/`);
    await other.page.getByRole('button', { name: 'Sign in with localhost' }).click();
    const trap = await other.page.getByRole('link', { name: 'Continue' }).getAttribute('href');
    await page.goto(trap!);
    await page.getByRole('alert').filter({ hasText: 'not begun in this browser' }).waitFor();
    await page.goto(`${broker.url}/ui/sso?error=${encodeURIComponent('<b>pay</b>')}`);
    await page.getByRole('alert').filter({ hasText: 'did not sign you on: ?' }).waitFor();
    clean();
    await other.context.close();
    await context.close();
  });

  it('works with passwords, and says so, while the issuer does not answer', async () => {
    issuer.close();
    await broker.stop();
    await broker.start('--sso-issuer', issuer.url, '--sso-client-id', 'console', '--auth', 'on');
    const { page, context } = await open(browser, broker.url, { allow: /status of/ });
    await page.goto(broker.setup);
    await page.getByLabel('Account', { exact: true }).fill('root');
    await page.getByLabel('Password', { exact: true }).fill('correct horse');
    await page.getByLabel('Password, again').fill('correct horse');
    await page.keyboard.press('Enter');
    await page.locator('summary').filter({ hasText: 'root' }).click();
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByRole('button', { name: 'Sign in with localhost' }).click();
    await page.getByRole('alert').filter({ hasText: 'does not answer' }).waitFor();
    await context.close();
  });
});
