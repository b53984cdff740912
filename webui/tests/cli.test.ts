import { describe, expect, it } from 'vitest';
import { cliOf, placeText } from '../src/api/cli';

const cli = (name: string, path: Record<string, string> = {}, body?: unknown, query: Record<string, unknown> = {}) => cliOf({ name, path, query, body }, 'b:1').replace(' --server=b:1', '');
const group = { topic: 'orders', group: 'billing' };

describe('commands', () => {
  it.each([
    ['POST /topics', {}, { name: 'a', kind: 'rpc' }, 'zbus topic create a --kind=rpc'],
    ['POST /topics', {}, { name: 'a', retention: { maxAge: 604_800_000, maxCount: '5', maxBytes: '0' } }, 'zbus topic create a --max-age=7d --max-count=5'],
    ['PATCH /topics/{topic}', { topic: 'a' }, { retention: { maxAge: 90_000 } }, 'zbus topic set a --max-age=90s --max-count=0 --max-bytes=0 --yes'],
    ['DELETE /topics/{topic}', { topic: 'a' }, undefined, 'zbus topic delete a --yes'],
    ['POST /topics/{topic}:empty', { topic: 'a' }, undefined, 'zbus topic empty a --yes'],
    ['POST /topics/{topic}/groups', { topic: 'a' }, { name: 'g', filter: "eu.*;!it's", settle: 'auto', start: { offset: '7' }, paused: true }, `zbus group create a g --start=7 '--filter=eu.*;!it'\\''s' --paused`],
    ['POST /topics/{topic}/groups', { topic: 'a' }, { name: 'g', settle: 'explicit', ackTimeout: 10_500, ackWindow: 5, maxDeliver: 3, start: 'latest' }, 'zbus group create a g --start=latest --explicit --ack-timeout=10500ms --ack-window=5 --max-deliver=3'],
    ['PATCH /topics/{topic}/groups/{group}', group, { paused: true }, 'zbus group pause orders billing'],
    ['PATCH /topics/{topic}/groups/{group}', group, { filter: 'eu.*', reason: 'a b' }, `zbus group filter orders billing 'eu.*' '--reason=a b' --yes`],
    ['PATCH /topics/{topic}/groups/{group}', group, { filter: '' }, 'zbus group filter orders billing --none --yes'],
    ['PATCH /topics/{topic}/groups/{group}', group, { settle: 'auto', maxDeliver: 0, exclusive: false }, 'zbus group set orders billing --explicit=false --max-deliver=0 --exclusive=false'],
    ['PATCH /topics/{topic}/groups/{group}', group, { filter: 'x', paused: true }, ''],
    ['DELETE /topics/{topic}/groups/{group}', group, undefined, 'zbus group delete orders billing --yes'],
    ['POST /topics/{topic}/groups/{group}/plans', group, { to: { shift: '-100' }, reason: '' }, 'zbus relocate orders billing --to=-100 --yes'],
    ['POST /topics/{topic}/filters:test', { topic: 'orders' }, { group: 'billing', filter: 'eu.+', last: 10_000 }, 'zbus group filter orders billing eu.+ --last=10000 --test'],
    ['POST /topics/{topic}/messages', { topic: 'a' }, { tag: 't', key: 'k', headers: { 'x-y': '1 2' }, body: '{"n":12345678901234567890}' }, `zbus produce a --tag=t '--header=x-y=1 2' --header=key=k --body='{"n":12345678901234567890}'`],
    ['POST /topics/{topic}/messages', { topic: 'a' }, { bodyBase64: 'AA==' }, ''],
    ['POST /topics/{topic}/messages', { topic: 'a' }, [{ body: 'x' }], ''],
    ['POST /journal/{entry}:revert', { ...group, entry: '12' }, { reason: 'x' }, 'zbus group undo orders billing 12 --reason=x'],
    ['GET /definitions', {}, undefined, 'zbus server export'],
    ['GET /audit', {}, undefined, ''],
  ])('%s %j %j', (name, path, body, want) => expect(cli(name, path as Record<string, string>, body)).toBe(want));
  it('take what is in the query', () => {
    expect(cli('DELETE /sessions/{session}', { session: 'w-1' }, undefined, { reason: 'go' })).toBe('zbus server disconnect w-1 --reason=go --yes');
    expect(cli('POST /definitions', {}, undefined, { dryRun: true, prune: true })).toBe('zbus server import definitions.json --prune --dry-run');
    expect(cli('POST /rpc/{topic}/{method}', { topic: 'calc', method: 'plus' }, '[12345678901234567890]', { timeout: '100' })).toBe(`echo '[12345678901234567890]' | zbus call calc plus --params=- --timeout=100ms`);
    expect(cli('POST /rpc/{topic}/{method}', { topic: 'calc', method: 'now' }, '')).toBe('zbus call calc now');
    expect(cli('POST /rpc/{topic}/{method}', { topic: 'calc', method: 'now' }, '', { module: 'm' })).toBe('');
  });
  it('know all places', () => {
    expect([placeText('earliest'), placeText({ offset: 5 }), placeText({ time: '2026-01-01T00:00:00Z' }), placeText({ messageId: 'x' }), placeText({ group: 'g' }), placeText({ shift: '5' }), placeText({ shift: '-5' })]).toEqual(['earliest', '5', '2026-01-01T00:00:00.000Z', 'id:x', 'group:g', '+5', '-5']);
  });
});
