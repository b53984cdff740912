// What somebody should look at, from figures alone.

import type { Schemas } from '../api/client';
import type { ServerFigures, TopicFigures } from '../live/frames';
import { big } from './format';

export type Matter =
  | { kind: 'condition'; level: 'bad' | 'warn'; condition: Schemas['Condition'] }
  | { kind: 'nobody'; level: 'bad'; topic: string; group: string; lag: bigint; seconds: number }
  | { kind: 'growing'; level: 'warn'; topic: string; group: string; lag: bigint; seconds: number; growth: number }
  | { kind: 'behind'; level: 'warn'; topic: string; group: string; lag: bigint; seconds: number }
  | { kind: 'paused'; level: 'info'; topic: string; lag: bigint }
  | { kind: 'disk'; level: 'bad' | 'warn'; free: bigint }
  | { kind: 'backlog'; level: 'warn'; bytes: bigint };

const lateAfter = 60; // seconds
const floor = 100n; // messages; fewer are no backlog

/** attention lists what is wrong, the worst first. growth is of the worst lag, a second. */
export function attention(
  topics: readonly TopicFigures[],
  server: ServerFigures | undefined,
  growth: (topic: string) => number,
): Matter[] {
  const found: Matter[] = (server?.conditions ?? []).map((condition) => ({
    kind: 'condition', level: condition.severity === 'critical' ? 'bad' : 'warn', condition,
  }));
  for (const t of topics) {
    const lag = big(t.worstLag);
    const group = t.worstLagGroup ?? '';
    const seconds = t.worstLagSeconds;
    const g = growth(t.name);
    if (t.paused) found.push({ kind: 'paused', level: 'info', topic: t.name, lag });
    else if (lag > 0n && t.consumers === 0 && t.out === 0) found.push({ kind: 'nobody', level: 'bad', topic: t.name, group, lag, seconds });
    else if (lag >= floor && g > 1) found.push({ kind: 'growing', level: 'warn', topic: t.name, group, lag, seconds, growth: g });
    else if (lag > 0n && seconds > lateAfter) found.push({ kind: 'behind', level: 'warn', topic: t.name, group, lag, seconds });
  }
  if (server?.diskFree !== undefined && !server.conditions.some((c) => c.kind === 'disk')) {
    const free = big(server.diskFree);
    if (free < 5_000_000_000n) found.push({ kind: 'disk', level: free < 1_000_000_000n ? 'bad' : 'warn', free });
  }
  const bytes = big(server?.backlog);
  if (bytes > 64_000_000n) found.push({ kind: 'backlog', level: 'warn', bytes });
  const order = { bad: 0, warn: 1, info: 2 };
  return found.sort((a, b) => order[a.level] - order[b.level] || Number(lagOf(b) - lagOf(a)));
}

function lagOf(m: Matter): bigint {
  return 'lag' in m ? m.lag : 0n;
}
