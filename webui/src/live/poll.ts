// The figures of the socket by plain requests, for networks that let none through.

import { call, topicsIn, type Group, type Topic } from '../api/client';
import { big } from '../lib/format';
import type { Figures, GroupFigures, TopicFigures } from './frames';

export function topicFigures(t: Topic): TopicFigures {
  let worst: Group | undefined;
  for (const g of t.groups) if (!worst || big(g.lag) > big(worst.lag)) worst = g;
  return {
    name: t.name,
    kind: t.kind,
    paused: t.paused,
    depth: t.depth,
    firstOffset: t.firstOffset,
    nextOffset: t.nextOffset,
    bytes: t.bytes,
    in: t.rates.in,
    out: t.rates.out,
    consumers: t.consumers,
    groups: t.groups.length,
    worstLag: worst?.lag ?? '0',
    worstLagGroup: worst?.name,
    worstLagSeconds: worst?.lagSeconds ?? 0,
  };
}

export function groupFigures(g: Group): GroupFigures {
  return { ...g, consumers: g.consumers.length };
}

/** poll asks for figures; observes: also for those of the whole server. */
export async function poll(op: Record<string, unknown>, observes = true): Promise<Figures[keyof Figures]> {
  const topic = String(op.topic ?? '');
  switch (op.channel) {
    case 'server': {
      const [server, stats] = await Promise.all([
        call('get', '/server', {}).send(),
        observes ? call('get', '/stats', { params: { query: { range: '15m' } } }).send() : undefined,
      ]);
      const last = stats?.data.points.at(-1);
      return { ...server.data, calls: last?.calls ?? 0, lag: last?.lag ?? '0', lagExact: last?.lagExact ?? true, backlog: last?.backlog ?? '0', point: last };
    }
    case 'attention':
      return (await call('get', '/attention', {}).send()).data;
    case 'topics': {
      const { data } = await call('get', '/topics', { params: { query: { limit: 1000 } } }).send();
      return { topics: topicsIn(data).map(topicFigures) };
    }
    case 'groups': {
      const groups: Figures['groups']['groups'] = [];
      let after: string | undefined;
      do {
        const { data } = await call('get', '/topics', { params: { query: { limit: 1000, after } } }).send();
        for (const t of topicsIn(data)) groups.push(...t.groups.map((g) => ({ ...groupFigures(g), topic: t.name, kind: t.kind })));
        after = data.next;
      } while (after);
      return { groups };
    }
    case 'topic': {
      const { data } = await call('get', '/topics/{topic}', { params: { path: { topic } } }).send();
      return { ...topicFigures(data), groups: data.groups.map(groupFigures) };
    }
    case 'rpc': {
      const { data } = await call('get', '/rpc', { params: { query: { limit: 1000 } } }).send();
      return { ...data, services: data.services.map((s) => ({ ...s, providers: s.providers.length, methods: s.methods.length })) };
    }
    case 'service':
      return (await call('get', '/rpc/{topic}', { params: { path: { topic } } }).send()).data;
    case 'sessions':
      return (await call('get', '/sessions', { params: { query: { limit: 1000 } } }).send()).data;
    default:
      return (await call('get', '/audit', { params: { query: { limit: 100 } } }).send()).data;
  }
}
