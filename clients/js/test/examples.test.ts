// The examples for Node and for pages, run as their users run them.
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';
import { Broker, build } from './broker.js';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const path = process.env.CHROMIUM ?? '/usr/bin/chromium';
const there = existsSync(path);

test('the script serves prices and follows what is asked for', async () => {
  if (!process.env.BROKER) build();
  const broker = await new Broker().start();
  try {
    const script = fileURLToPath(new URL('../examples/typescript/prices.mjs', import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [script], { env: { ...process.env, ZBUS_SERVER: broker.url }, timeout: 60_000 });
    assert.equal(stdout, 'a pizza is 750 cents\nno_item\nasked for pizza\nasked for car\n');
  } finally {
    await broker.close();
  }
});

test('the page orders at the service of another origin', { skip: !there && `NOT TESTED: no Chromium at ${path}` }, async () => {
  if (!process.env.BROKER) build();
  const dir = mkdtempSync(join(tmpdir(), 'zbus-orders-'));
  execFileSync('go', ['build', '-o', join(dir, 'orders'), './examples/orders'], { cwd: root, stdio: 'inherit' });
  const site = createServer((req, res) => {
    const module = /^\/zbus\/(\w+\.js)$/.exec(req.url!);
    res.setHeader('Content-Type', module ? 'text/javascript' : 'text/html');
    res.end(readFileSync(module ? fileURLToPath(new URL(`../../dist/${module[1]}`, import.meta.url)) : join(root, 'examples/web/index.html')));
  });
  await new Promise<void>((done) => site.listen(0, '127.0.0.1', done));
  const host = `127.0.0.1:${(site.address() as { port: number }).port}`;
  const broker = await new Broker().start('--allow-origin', host);
  const service = spawn(join(dir, 'orders'), { env: { ...process.env, ZBUS_SERVER: new URL(broker.url).host }, stdio: ['ignore', 'pipe', 'inherit'] });
  const browser = await chromium.launch({ executablePath: path, args: ['--no-sandbox', '--disable-gpu'] });
  try {
    await new Promise((said) => service.stdout.once('data', said));
    for (let ready = 0; !ready; ) ready = ((await (await fetch(`${broker.url}/api/v1/topics/shop`)).json()) as { consumers?: number }).consumers ?? 0;
    const page = await browser.newPage();
    await page.goto(`http://${host}/?broker=${encodeURIComponent(broker.url)}`);
    await page.getByRole('button').click();
    await page.getByText('Invoice of 1500 cents').waitFor();
    await page.getByText('That will be 1500 cents.').waitFor(); // the answer and the invoice come in any order
  } finally {
    await browser.close();
    service.kill();
    site.close();
    await broker.close();
    rmSync(dir, { recursive: true });
  }
});
