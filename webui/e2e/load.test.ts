// What the console costs: the page under load, the broker with and without viewers,
// and the memory of a long tail. The figures are printed; docs/performance.md has some.
//
// LOAD_ROUNDS=7 LOAD_TAIL=300 LOAD_IDLE=60 npx vitest run --project e2e e2e/load.test.ts
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import type { Browser, CDPSession, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { binary, Broker } from './broker';
import { go, launch, open, there } from './browser';
import { own, type Trace } from './tasks';

const rounds = Number(process.env.LOAD_ROUNDS ?? 1); // with the page and without
const tailFor = Number(process.env.LOAD_TAIL ?? 10); // seconds
const idleFor = Number(process.env.LOAD_IDLE ?? 5); // seconds
const tooLong = 50; // milliseconds, as the browser defines a long task

const median = (list: number[]) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]!;
const pause = (seconds: number) => new Promise((done) => setTimeout(done, seconds * 1000));

describe.skipIf(!there)('load', () => {
  const broker = new Broker();
  let zbus = '';
  let browser: Browser;

  beforeAll(async () => {
    zbus = binary();
    await broker.start();
    for (let i = 0; i < 20; i++) await broker.call('POST', '/topics', { name: `topic-${i}` });
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    await broker.close();
  });

  /** publish pushes as fast as it goes, and gives messages a second. */
  const publish = async (count: number) => {
    const { stdout } = await promisify(execFile)(zbus, ['bench', 'produce', '--server', new URL(broker.url).host, '--topic', 'bench', '--count', String(count), '--json']);
    return (JSON.parse(stdout) as { perSecond: number }).perSecond;
  };
  const watchTasks = (page: Page) =>
    page.evaluate(() => {
      const long: number[] = ((window as unknown as { long: number[] }).long = []);
      new PerformanceObserver((list) => long.push(...list.getEntries().map((e) => e.duration))).observe({ type: 'longtask' });
    });
  const takeTasks = (page: Page) => page.evaluate(() => (window as unknown as { long: number[] }).long.splice(0));

  it('shows the overview without a long task while messages pour in', { timeout: 900_000 }, async () => {
    const view = await open(browser, broker.url);
    await go(view.page, broker.url, '#/');
    await publish(50_000);
    await view.page.getByRole('link', { name: 'bench' }).first().waitFor();
    await watchTasks(view.page);
    const windows = [];
    for (let i = 0; i < 3; i++) {
      await takeTasks(view.page);
      await browser.startTracing(view.page, { categories: ['toplevel', 'devtools.timeline', 'disabled-by-default-devtools.timeline'] });
      const speed = await publish(400_000);
      const tasks = own(JSON.parse((await browser.stopTracing()).toString()) as Trace);
      windows.push({ speed, seen: await takeTasks(view.page), tasks: tasks.length, longest: Math.max(...tasks), busy: tasks.reduce((sum, t) => sum + t, 0) });
    }
    for (const w of windows) {
      console.log(`${Math.round(w.speed)} messages/s: longest task ${w.longest.toFixed(1)} ms of processor time in ${w.tasks}, together ${w.busy.toFixed(0)} ms; the observer saw ${w.seen.length} over ${tooLong} ms (${w.seen.map((x) => x.toFixed(0)).join(', ')})`);
    }
    expect(Math.min(...windows.map((w) => w.tasks)), 'tasks that were traced').toBeGreaterThan(20);
    // The observer's clock runs on while the page waits for a processor, and broker and
    // load keep both of a small machine busy. So a task that it calls long counts only
    // where the thread has worked that long itself, and one window of three may have had
    // a collection of garbage or a busy neighbour.
    expect(median(windows.map((w) => (w.seen.length === 0 ? 0 : w.longest))), 'milliseconds of the longest task, median of the windows').toBeLessThanOrEqual(tooLong);
    view.clean();
    await view.context.close();
  });

  /** spent is how many seconds of processor time the broker has used. */
  const spent = () => {
    const fields = readFileSync(`/proc/${broker.pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  };

  it.skipIf(process.platform !== 'linux')('says what viewers cost the broker', { timeout: 900_000 }, async () => {
    const [without, by]: [number[], number[]] = [[], []];
    const [alone, viewing]: [number[], number[]] = [[], []]; // microseconds of the broker's processor time a message
    const count = rounds > 1 ? 600_000 : 100_000;
    await publish(100_000);
    for (let i = 0; i < rounds; i++) {
      // Each goes first every other time.
      for (const viewed of i % 2 ? [true, false] : [false, true]) {
        const view = viewed ? await open(browser, broker.url) : undefined;
        if (view) await go(view.page, broker.url, '#/');
        await pause(2); // until the browser has come to rest
        const before = spent();
        (viewed ? by : without).push(await publish(count));
        (viewed ? viewing : alone).push((1e6 * (spent() - before)) / count);
        await view?.context.close();
      }
    }
    const loss = by.map((x, i) => 100 * (1 - x / without[i]!));
    console.log(`messages/s: ${Math.round(median(without))} alone, ${Math.round(median(by))} with the overview open; loss by rounds ${loss.map((x) => x.toFixed(1)).join(', ')} %, median ${median(loss).toFixed(1)} %`);
    console.log(`the broker's processor time a message: ${median(alone).toFixed(2)} µs alone, ${median(viewing).toFixed(2)} µs with the overview open`);
    expect(by).toHaveLength(rounds);
  });

  /** heap is what a page holds after the garbage was collected, in MB. */
  const heap = async (cdp: CDPSession) => {
    for (let i = 0; i < 3; i++) await cdp.send('HeapProfiler.collectGarbage');
    return (await cdp.send('Runtime.getHeapUsage')).usedSize / 1e6;
  };

  it('tails for long without holding more', { timeout: 600_000 + 2000 * tailFor }, async () => {
    const view = await open(browser, broker.url);
    const cdp = await view.context.newCDPSession(view.page);
    await broker.call('POST', '/topics', { name: 'tailed', retention: { maxCount: '20000' } });
    await go(view.page, broker.url, '#/topics/tailed/messages?tail=1');
    await view.page.getByText('Waiting for the next message…').waitFor();
    let on = true;
    let sent = 0;
    const pour = (async () => {
      while (on) {
        await broker.publish('tailed', Array.from({ length: 300 }, () => ({ tag: 'eu.de.paid', headers: { trace: String(sent) }, body: `{"n":${sent++},"text":"${'x'.repeat(200)}"}` })));
        await pause(0.25);
      }
    })();
    // Until the ring of 5,000 is full, which is all that a tail may hold.
    await view.page.getByText(/^5,000 messages$/).waitFor({ timeout: 300_000 });
    const sizes = [await heap(cdp)];
    for (let i = 0; i < 5; i++) {
      await pause(tailFor / 5);
      sizes.push(await heap(cdp));
    }
    on = false;
    await pour;
    console.log(`a tail of ${tailFor} s, ${sent} messages published: ${sizes.map((x) => x.toFixed(1)).join(', ')} MB of heap`);
    // The least of some, because what is just on its way comes on top.
    const [early, late] = [Math.min(...sizes.slice(0, 3)), Math.min(...sizes.slice(3))];
    expect(late - early, 'MB more at the end').toBeLessThan(0.15 * early + 1);
    view.clean();
    await view.context.close();
  });

  it.skipIf(process.platform !== 'linux')('costs next to nothing when ten look and nothing happens', { timeout: 600_000 + 3000 * idleFor }, async () => {
    const measure = async () => {
      const before = spent();
      await pause(idleFor);
      return (100 * (spent() - before)) / idleFor;
    };
    await pause(1); // what the load left behind
    const alone = await measure();
    const views = [];
    for (const hash of ['#/', '#/topics', '#/groups', '#/rpc', '#/servers', '#/sessions', '#/audit', '#/', '#/topics/tailed/messages?tail=1', '#/topics/bench/groups']) {
      const view = await open(browser, broker.url);
      await go(view.page, broker.url, hash);
      views.push(view);
    }
    await pause(1);
    const viewed = await measure();
    console.log(`of one processor: ${alone.toFixed(1)} % alone, ${viewed.toFixed(1)} % with ten consoles open`);
    expect(viewed, 'percent of a processor').toBeLessThan(25);
    for (const view of views) {
      view.clean();
      await view.context.close();
    }
  });
});
