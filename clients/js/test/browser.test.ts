// One run in a real Chromium, in a page of another origin.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { chromium } from 'playwright-core';
import { Broker, build } from './broker.js';

const path = process.env.CHROMIUM ?? '/usr/bin/chromium';
const there = existsSync(path);
if (!there && process.env.CI) throw new Error(`no Chromium at ${path}: apt-get install -y chromium`);

test('a page of another origin publishes, consumes, calls and serves', { skip: !there && `NOT TESTED: no Chromium at ${path}` }, async () => {
  if (!process.env.BROKER) build();
  const site = createServer((req, res) => {
    const module = /^\/dist\/(\w+\.js)$/.exec(req.url!);
    res.setHeader('Content-Type', module ? 'text/javascript' : 'text/html');
    res.end(module ? readFileSync(new URL(`../src/${module[1]}`, import.meta.url)) : '<!doctype html><title>a shop</title>');
  });
  await new Promise<void>((done) => site.listen(0, '127.0.0.1', done));
  const origin = `http://127.0.0.1:${(site.address() as { port: number }).port}`;
  const broker = await new Broker().start('--allow-origin', new URL(origin).host);
  const browser = await chromium.launch({ executablePath: path, args: ['--no-sandbox', '--disable-gpu'] });
  try {
    const page = await browser.newPage();
    await page.goto(origin);
    const got = await page.evaluate(async (url) => {
      const { Client, CallError } = (await import('/dist/index.js' as string)) as typeof import('../src/index.js');
      const c = new Client(url);
      await c.createTopic({ name: 'orders' });
      await c.createTopic({ name: 'calc', kind: 'rpc' });
      const sub = c.subscribe('orders', { start: 'earliest' });
      const { offset } = await c.publish('orders', { body: 'one tea' });
      const body = (await sub.next()).value.body as string;
      const service = c.serve('calc', {
        add: (a: number, b: number) => a + b,
        fail: () => { throw new CallError('sold out', { status: 409, code: 'sold_out' }); },
      });
      await service.ready;
      const sum = await c.call('calc', 'add', [1, 2]);
      const failed = await c.call('calc', 'fail').catch((e: unknown) => e instanceof CallError && [e.status, e.code]);
      const denied = await c.publish('nowhere', {}).catch((e: { code: string }) => e.code);
      c.close();
      return { offset, body, sum, failed, denied };
    }, broker.url);
    assert.deepEqual(got, { offset: '0', body: 'one tea', sum: 3, failed: [409, 'sold_out'], denied: 'not_found' });
  } finally {
    await browser.close();
    site.close();
    await broker.close();
  }
});
