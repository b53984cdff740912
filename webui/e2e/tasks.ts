// What the page's main thread does, by the browser's own trace.
import type { Browser, Page } from 'playwright-core';

export interface Trace {
  traceEvents: { name: string; ph: string; pid: number; tid: number; dur?: number; tdur?: number; args: { name?: string } }[];
}

/** own are the tasks of the page's main thread: milliseconds of processor time. */
export function own(trace: Trace): number[] {
  const threads = new Set(trace.traceEvents.filter((e) => e.name === 'thread_name' && e.args.name === 'CrRendererMain').map((e) => `${e.pid}/${e.tid}`));
  return trace.traceEvents.filter((e) => e.name === 'RunTask' && e.ph === 'X' && threads.has(`${e.pid}/${e.tid}`)).map((e) => (e.tdur ?? 0) / 1000);
}

/** longest is the longest task of a page while something is done: milliseconds of processor time. */
export async function longest(browser: Browser, page: Page, work: () => Promise<void>): Promise<number> {
  await browser.startTracing(page, { categories: ['toplevel', 'devtools.timeline', 'disabled-by-default-devtools.timeline'] });
  try {
    await work();
  } finally {
    var trace = JSON.parse((await browser.stopTracing()).toString()) as Trace;
  }
  return Math.max(0, ...own(trace));
}
