import { describe, expect, it } from 'vitest';
import type { Schemas } from '../src/api/client';
import { pick } from '../src/servers/pick';

type On = Schemas['TopicOnServer'];
const on = (address: string, consumers: number, lag = '0', state: On['state'] = 'up'): On => ({ address, state, depth: '0', lag, consumers });
const topic = (...servers: On[]): Schemas['ClusterTopic'] => ({ name: 't', kind: 'log', depth: '0', lag: '0', consumers: 0, servers });

// The cases of the Go client's TestMostConsumersThenLeastLagThenTurns.
describe('what a client would pick', () => {
  for (const [name, servers, want] of [
    ['consumers', [on('a', 1), on('b', 3, '1000000'), on('c', 2)], 'b'],
    ['lag', [on('a', 1, '1000000'), on('b', 1, '100000'), on('c', 1, '5000')], 'c'],
    ['a little lag is none', [on('a', 1, '999'), on('b', 1)], 'a b'],
    ['nearly as much lag', [on('a', 1, '15999'), on('b', 1, '8000')], 'a b'],
    ['one that is drained', [on('a', 9, '0', 'draining'), on('b', 0)], 'b'],
    ['one that is drained, and alone', [on('a', 9, '0', 'draining'), on('b', 0, '0', 'unreachable')], 'a'],
    ['nobody', [on('a', 9, '0', 'unreachable')], ''],
  ] as [string, On[], string][])
    it(name, () => expect(pick(topic(...servers)).servers.join(' ')).toBe(want));
});
