// Chromium with the gates that each test has to pass: nothing that the policy forbids,
// no error in the console, no request to another host, nothing serious that axe finds.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium, type Browser, type BrowserContext, type Page, type Request } from 'playwright-core';
import { expect, vi } from 'vitest';

const path = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** Whether there is a browser. In CI its absence is an error, elsewhere it is said. */
export const there = existsSync(path);
if (!there) {
  if (process.env.CI) throw new Error(`no Chromium at ${path}: apt-get install -y chromium`);
  console.error(`NOT TESTED: no Chromium at ${path}`);
}

export interface View {
  page: Page;
  context: BrowserContext;
  /** Call it last: it fails when something was seen that must not be. */
  clean(): void;
}

export interface Look {
  width?: number;
  height?: number;
  theme?: 'light' | 'dark';
  /** Errors that a test brings about, such as those of a broker that is stopped. */
  allow?: RegExp;
  language?: string;
}

const underWay = new WeakMap<Page, Set<Request>>();

/** answered waits until a page has got all that it has asked for. */
export async function answered(page: Page) {
  // Not by expect.poll: tests that run at the same time have none.
  await vi.waitFor(() => expect([...underWay.get(page)!].map((r) => r.url()), 'requests without an answer').toEqual([]), { timeout: 45_000 });
}

export async function launch(...flags: string[]): Promise<Browser> {
  return chromium.launch({ executablePath: path, args: [...flags, '--no-sandbox', '--disable-gpu', '--force-color-profile=srgb', '--hide-scrollbars'] });
}

export async function open(browser: Browser, origin: string, look: Look = {}): Promise<View> {
  const context = await browser.newContext({
    viewport: { width: look.width ?? 1280, height: look.height ?? 800 },
    colorScheme: look.theme ?? 'light',
    locale: look.language ?? 'en-GB',
    timezoneId: 'Europe/Berlin',
    reducedMotion: 'reduce',
  });
  const page = await context.newPage();
  page.setDefaultTimeout(45_000);
  const seen: string[] = [];
  const under = new Set<Request>();
  underWay.set(page, under);
  page.on('request', (r) => under.add(r));
  for (const end of ['requestfinished', 'requestfailed'] as const) page.on(end as 'requestfinished', (r) => under.delete(r));
  const report = (what: string) => {
    if (!look.allow?.test(what)) seen.push(what);
  };
  page.on('console', (m) => m.type() === 'error' && report(`console: ${m.text()} (${m.location().url})`));
  page.on('pageerror', (e) => report(`error: ${e.message}`));
  page.on('request', (r) => {
    if (!r.url().startsWith(origin) && !/^(data|blob):/.test(r.url())) report(`another host: ${r.url()}`);
  });
  await page.exposeFunction('reportViolation', (text: string) => report(`policy: ${text}`));
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (e) => {
      (window as unknown as { reportViolation(t: string): void }).reportViolation(`${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`);
    });
  });
  return { page, context, clean: () => expect(seen).toEqual([]) };
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** accessible fails on what axe finds serious or critical, of all its rules or of some. */
export async function accessible(page: Page, where: string, rules?: string[]) {
  // By the debugger's way in, which the page's policy does not concern.
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(axe);
  const found = await page.evaluate(async (rules) => {
    type Result = { violations: { id: string; impact: string; help: string; nodes: { target: string[]; failureSummary: string }[] }[] };
    const run = (window as unknown as { axe: { run(o: object): Promise<Result> } }).axe.run({ resultTypes: ['violations'], ...(rules ? { runOnly: rules } : {}) });
    return (await run).violations
      .filter((v) => v.impact === 'serious' || v.impact === 'critical')
      .map((v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => `${n.target.join(' ')} (${n.failureSummary.split('\n')[1]?.trim()})`).join('; ')}`);
  }, rules);
  expect(found, where).toEqual([]);
}

/** keys presses several keys faster than any of them is answered, as for what counts only within a moment. */
export async function keys(page: Page, ...names: string[]) {
  await Promise.all(names.map((name) => page.keyboard.press(name)));
}

/** resize gives the window a size and a light, and waits until the page is laid out for them. */
export async function resize(page: Page, look: { width: number; height?: number; theme?: 'light' | 'dark' }) {
  await page.setViewportSize({ width: look.width, height: look.height ?? (look.width === 390 ? 844 : 800) });
  if (look.theme) await page.emulateMedia({ colorScheme: look.theme });
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
}

export interface Asked {
  list: string[];
  /** How often the page had to connect again, as where it got no processor for seconds: then it may ask. */
  again: number;
}

/** requests are those that a page makes of the API from now on, those of its opening answered. */
export async function requests(page: Page): Promise<Asked> {
  await answered(page);
  const asked: Asked = { list: [], again: 0 };
  page.on('request', (r) => r.url().includes('/api/') && asked.list.push(new URL(r.url()).pathname + new URL(r.url()).search));
  page.on('websocket', () => asked.again++);
  return asked;
}

/** go opens an address of the console and waits until figures are live. */
export async function go(page: Page, url: string, hash: string) {
  await page.goto(`${url}/ui/${hash}`);
  await page.locator('[data-state="live"], [data-state="polling"]').waitFor();
}
