// Where a message is of which only the id is known.

import { call, Failure } from '../api/client';

const atOnce = 4; // topics that are asked at a time

/** findMessage asks one topic after the other; undefined when none has the id. */
export async function findMessage(id: string): Promise<{ topic: string; offset: string } | undefined> {
  let after: string | undefined;
  do {
    const { data } = await call('get', '/topics', { params: { query: { limit: 1000, after } } }).send();
    const logs = data.topics.filter((t) => t.kind === 'log' || t.kind === 'memory').map((t) => t.name);
    for (let i = 0; i < logs.length; i += atOnce) {
      const found = (await Promise.all(logs.slice(i, i + atOnce).map((topic) => inTopic(topic, id)))).find((f) => f);
      if (found) return found;
    }
    after = data.next;
  } while (after);
  return undefined;
}

async function inTopic(topic: string, id: string) {
  try {
    const { data } = await call('get', '/topics/{topic}/messages', { params: { path: { topic }, query: { id, limit: 1 } } }).send();
    const found = data.messages.find((m) => m.id === id);
    return found && { topic, offset: found.offset };
  } catch (err) {
    // It has no such message, or is gone by now.
    if (err instanceof Failure && [400, 404].includes(err.problem.status)) return undefined;
    throw err;
  }
}
