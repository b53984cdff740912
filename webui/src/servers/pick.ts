// Which server a client of the Go library publishes to, and why. It is what MostConsumers
// there does, which has a test of its own.
import type { Schemas } from '../api/client';
import { t } from '../i18n/text.svelte';
import { big, count } from '../lib/format';

type Topic = Schemas['ClusterTopic'];

export interface Pick {
  /** Several take turns. */
  servers: string[];
  why: string;
}

/** little is how much lag is none: what servers tell is some seconds old. */
const little = 1000n;

const lagClass = (lag: string) => (big(lag) < little ? 0 : (big(lag) / little).toString(2).length);

/** pick is where a message to the topic would go now. */
export function pick(topic: Topic): Pick {
  const reached = topic.servers.filter((s) => s.state !== 'unreachable');
  const up = reached.filter((s) => s.state === 'up');
  const all = up.length ? up : reached;
  if (all.length < 2) return { servers: all.map((s) => s.address), why: all.length ? t('no other server that is up has the topic') : t('no server that has the topic is reached') };
  const consumers = Math.max(...all.map((s) => s.consumers));
  const most = all.filter((s) => s.consumers === consumers);
  if (most.length === 1) return { servers: [most[0]!.address], why: t('it has most consumers: {n}', { n: consumers }) };
  const least = Math.min(...most.map((s) => lagClass(s.lag)));
  const best = most.filter((s) => lagClass(s.lag) === least);
  if (best.length === 1) return { servers: [best[0]!.address], why: t('of those with {n} consumers it lags least: {lag}', { n: consumers, lag: count(best[0]!.lag) }) };
  return { servers: best.map((s) => s.address), why: t('they take turns: as many consumers ({n}), as little lag', { n: consumers }) };
}
