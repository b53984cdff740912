// Lays out JSON in a worker, so that the page stays responsive.

import worker from './layout.worker.ts?worker&url';

type Policy = { createScriptURL(url: string): string };
const types = (globalThis as { trustedTypes?: { createPolicy(name: string, rules: Policy): Policy } }).trustedTypes;

// Where pages may not make scripts of texts, this one address is what a worker may be of.
const policy = types?.createPolicy('zbus-worker', {
  createScriptURL: (url) => {
    if (url !== worker) throw new TypeError('not the worker of this console');
    return url;
  },
});

/** layOut is what layJSON says, from a worker that ends with the signal. */
export function layOut(text: string, signal: AbortSignal): Promise<string | undefined> {
  const job = new Worker(policy ? policy.createScriptURL(worker) : worker);
  const over = new Promise<string | undefined>((done, failed) => {
    job.onmessage = (e: MessageEvent<string | undefined>) => done(e.data);
    job.onerror = () => failed(new Error('the worker ended'));
    signal.addEventListener('abort', () => failed(signal.reason as Error));
  });
  job.postMessage(text);
  return over.finally(() => job.terminate());
}
