// Messages as newline-delimited JSON that can be published again as it is.

import { call, type Message, type Schemas } from '../api/client';

/** again is what has to be published to have a message once more. */
export function again(m: Message, sameId = false): Schemas['NewMessage'] {
  const { key: _, ...headers } = m.headers;
  const body = m.bodyBase64 !== undefined ? { bodyBase64: m.bodyBase64 } : { body: m.body ?? '' };
  return {
    ...(sameId ? { id: m.id } : {}),
    ...(m.tag ? { tag: m.tag } : {}),
    ...(m.key ? { key: m.key } : {}),
    ...(Object.keys(headers).length ? { headers } : {}),
    ...body,
  };
}

/** whole gets the bodies that lists cut off. */
export async function whole(topic: string, m: Message, signal?: AbortSignal): Promise<Message> {
  if (!m.truncated) return m;
  return (await call('get', '/topics/{topic}/messages/{offset}', { params: { path: { topic, offset: m.offset } } }).send(signal)).data;
}

/** lines writes messages one a line; progress hears how many are done. */
export async function lines(topic: string, messages: readonly Message[], progress: (n: number) => void = () => {}, signal?: AbortSignal): Promise<string[]> {
  const out: string[] = [];
  for (const m of messages) {
    out.push(JSON.stringify(again(await whole(topic, m, signal), true)) + '\n');
    if (out.length % 50 === 0) progress(out.length);
  }
  return out;
}

/** range reads [from, to), or what a group would get of it. */
export async function* range(topic: string, from: bigint, to: bigint, group?: string, signal?: AbortSignal): AsyncGenerator<Message[]> {
  let at = String(from);
  for (;;) {
    const { data } = await call('get', '/topics/{topic}/messages', {
      params: { path: { topic }, query: { from: at, dir: 'next', limit: 1000, group } },
    }).send(signal);
    const inside = data.messages.filter((m) => BigInt(m.offset) < to);
    yield inside;
    if (!data.more || BigInt(data.scannedTo) >= to || inside.length < data.messages.length) return;
    at = data.scannedTo;
  }
}
