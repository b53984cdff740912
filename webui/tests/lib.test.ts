import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { curlOf, quote } from '../src/api/curl';
import { matterAction, matterKey, matterLink, matterName, matterText, type Matter } from '../src/topics/matters';
import { type Decoded, asText, bodyBytes, decode, fill, hexLines, oneLine, pieces, shown, toBase64, uuid } from '../src/lib/body';
import { HexRows, Rows } from '../src/lib/rows';
import { ceiling, moments, nearest, path } from '../src/lib/plot';
import { link, parseRoute } from '../src/lib/route';
import { again } from '../src/messages/export';
import { find, rank } from '../src/pages/palette';
import { nameFault, readAge, readSize, writeAge } from '../src/topics/names';

describe('addresses', () => {
  it.each([
    ['', [], {}],
    ['#/topics/orders/messages?from=812000&tag=eu.*', ['topics', 'orders', 'messages'], { from: '812000', tag: 'eu.*' }],
    ['#/topics/a%3Ab%2Fc', ['topics', 'a:b/c'], {}],
    ['#/topics/%E0%A4%A', ['topics', '%E0%A4%A'], {}],
  ])('%s', (hash, parts, query) => expect(parseRoute(hash)).toEqual({ path: parts, query }));
  it('come back as they were', () => {
    const query = { from: '812000', tag: 'eu.*;!a b', text: '100% & more' };
    expect(parseRoute(link(['topics', 'ß:ü.1'], query))).toEqual({ path: ['topics', 'ß:ü.1'], query });
    expect(link(['topics'], { q: '', tag: undefined })).toBe('#/topics');
  });
});

describe('curl', () => {
  it('is one word for the shell, whatever is in it', () => {
    expect(quote("it's $HOME `x`")).toBe(`'it'\\''s $HOME \`x\`'`);
    expect(quote('http://a/b?c=d')).toBe(`'http://a/b?c=d'`);
    expect(quote('eu.de')).toBe('eu.de');
  });
  it('has no needless method', () => {
    expect(curlOf({ method: 'GET', url: 'http://a/b' })).toBe('curl http://a/b');
    expect(curlOf({ method: 'POST', url: 'http://a/b' })).toBe('curl -X POST http://a/b');
    expect(curlOf({ method: 'POST', url: 'http://a/b', headers: { 'Content-Type': 'application/json' }, body: '{"a":1}' })).toBe(
      `curl http://a/b -H 'Content-Type: application/json' --data-binary '{"a":1}'`,
    );
    expect(curlOf({ method: 'PATCH', url: 'http://a/b', body: '{}' })).toContain('-X PATCH');
  });
});

describe('bodies', () => {
  const bytes = Uint8Array.from({ length: 20 }, (_, i) => i * 13);
  it('are text when they are UTF-8', () => {
    expect(asText(bodyBytes({ body: 'grüße' }))).toBe('grüße');
    expect(asText(bodyBytes({ bodyBase64: toBase64(bytes) }))).toBeUndefined();
    expect(bodyBytes({ bodyBase64: toBase64(bytes) })).toEqual(bytes);
  });
  it('are dumped', () => {
    const lines = hexLines(bodyBytes({ body: 'zbus console, 16+' }), 10);
    expect(lines[0]).toBe('00000000  7a 62 75 73 20 63 6f 6e  73 6f 6c 65 2c 20 31 36  zbus console, 16');
    expect(lines[1]).toMatch(/^00000010 {2}2b +\+$/);
  });
  it('have one line in lists', () => expect(oneLine({ body: 'a\n\tb\u0000c' })).toBe('a b⟨0000⟩c'));
  it('are filled from templates', () => {
    expect(fill('n={{n}} {{x}}', 3)).toBe('n=3 {{x}}');
    expect(fill('{{uuid}}', 1)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(uuid()).not.toBe(uuid());
  });
  it('are published again without the header that the key is kept in', () => {
    const m = { offset: '1', id: 'i', time: '', size: '1', tag: 'a', key: 'k', headers: { key: 'k', trace: 't' }, body: 'x' };
    expect(again(m)).toEqual({ tag: 'a', key: 'k', headers: { trace: 't' }, body: 'x' });
    expect(again({ ...m, body: undefined, bodyBase64: 'AA==' }, true)).toMatchObject({ id: 'i', bodyBase64: 'AA==' });
  });
});

describe('charts', () => {
  it('have a round top above all values', () => {
    for (const v of [0.3, 1, 7, 99, 101, 12_345, 1e9]) {
      const { top, step } = ceiling(v);
      expect(top).toBeGreaterThanOrEqual(v * 0.99);
      expect(top / step).toBeLessThanOrEqual(5);
    }
  });
  it('have round times in the zone that is shown', () => {
    expect(moments(0, 900_000, 4)).toEqual([0, 300_000, 600_000, 900_000]);
    expect(moments(0, 86_400_000, 3, 5.5 * 3_600_000).every((m) => (m + 5.5 * 3_600_000) % 43_200_000 === 0)).toBe(true);
  });
  it('break where figures are missing, and find the nearest', () => {
    const points = [0, 1000, 2000, 9000].map((time) => ({ time }));
    const box = { from: 0, to: 10_000, top: 10, width: 100, height: 50, gap: 5000 };
    expect(path(points, () => 5, box)).toBe('M0.0 25.0L10.0 25.0L20.0 25.0M90.0 25.0');
    expect([nearest(points, 1400), nearest(points, 1600), nearest(points, -5), nearest(points, 1e6), nearest([], 1)]).toEqual([1, 2, 0, 3, -1]);
  });
});

describe('bodies of any size', () => {
  const texts = ['', 'a', 'a\n', 'a\r\nb', '\n\n', 'x'.repeat(2000), 'x'.repeat(2001), 'x'.repeat(1999) + '😀' + 'y'.repeat(3000) + '\nz', 'line\n'.repeat(200_000)];
  it('are rows that make up the whole text, none of them long', () => {
    for (const text of texts) {
      const rows = new Rows(text);
      const all = Array.from({ length: rows.count }, (_, i) => (i && !rows.continues(i) ? '\n' : '') + rows.row(i)).join('');
      expect(all).toBe(text.replaceAll('\r\n', '\n'));
      expect(Array.from({ length: rows.count }, (_, i) => rows.row(i).length).reduce((a, b) => Math.max(a, b))).toBeLessThanOrEqual(2001);
      expect(rows.cut).toBe(text.split('\n').some((l) => l.length > 2000));
    }
  });
  it('are in slices that follow each other', () => {
    for (const source of [...texts.map((text) => new Rows(text)), new HexRows(new Uint8Array(1_000_001))]) {
      let at = 0;
      for (let n = 0; n < source.slices; n++) {
        const { from, to } = source.slice(n);
        expect(from).toBe(at);
        at = to;
      }
      expect(at).toBe(source.count);
    }
    expect(new Rows('x'.repeat(5_000_000)).slices).toBe(20);
  });
  it('are decoded up to a limit, whatever the header says', async () => {
    const text = (d: Decoded | undefined) => d && new TextDecoder().decode(d.bytes);
    expect(text(await decode(gzipSync('hello'), 'gzip'))).toBe('hello');
    expect(text(await decode(deflateSync('hello'), 'deflate'))).toBe('hello');
    expect(text(await decode(deflateRawSync('hello'), 'Deflate'))).toBe('hello');
    expect(await decode(new TextEncoder().encode('hello'), 'gzip')).toBeUndefined();
    expect(await decode(gzipSync('hello'), 'br')).toBeUndefined();
    const bomb = (await decode(gzipSync(Buffer.alloc(50_000_000)), 'gzip', 1_000_000))!;
    expect([bomb.bytes.length, bomb.more]).toEqual([1_000_000, true]);
  });
  it('show what can not be seen', () => {
    expect(shown('a\u0000b\u202ec\u200d\ufeff')).toBe('a⟨0000⟩b⟨202E⟩c⟨200D⟩⟨FEFF⟩');
    expect(pieces('a\u202eb').map((p) => [p.text, p.hidden])).toEqual([['a', false], ['⟨202E⟩', true], ['b', false]]);
    expect(shown('tab\tline\n größe 😀 שלום')).toBe('tab\tline\n größe 😀 שלום');
  });
});

describe('what needs attention', () => {
  const matter = (m: Partial<Matter>): Matter => ({ kind: 'growing', level: 'warning', topic: 'orders', group: 'billing', lag: '12040', lagExact: true, seconds: 130, growth: 40, ...m });
  it('says what is the matter, where, and what helps', () => {
    const of = (m: Matter) => [matterName(m), matterText(m, Date.parse('2026-10-09T14:00:10Z')), matterLink(m), matterAction(m).href];
    expect(of(matter({}))).toEqual(['orders / billing', 'lag 12,040, 2m10s, grows by 40/s', '#/topics/orders/groups/billing', '#/topics/orders/groups/billing']);
    expect(of(matter({ kind: 'unconsumed', lagExact: false }))[1]).toBe('nobody consumes; ≈ 12,040 waiting, the oldest for 2m10s, 40/s more');
    expect(of(matter({ kind: 'dead-letters', count: '1' })).slice(1)).toEqual(['1 message given up in the last 15 minutes', '#/topics/orders/groups/billing', '#/topics/orders.dead/dead?group=billing']);
    expect(of(matter({ kind: 'unmatched', count: '10000' })).slice(1)).toEqual(['the filter lets none of the last 10,000 messages through', '#/topics/orders/groups/billing', '#/topics/orders/groups/billing/filter']);
    expect(of({ kind: 'unprovided', level: 'critical', topic: 'pricing', rate: 12, count: '0' })).toEqual(['pricing', 'nobody answers; 12 calls a second fail or wait', '#/rpc/pricing', '#/rpc/pricing']);
    const condition = { kind: 'disk', severity: 'critical', ready: false, text: 'publishing is stopped', since: '2026-10-09T14:00:00Z' } as const;
    expect(of({ kind: 'condition', level: 'critical', condition })).toEqual(['Disk', 'publishing is stopped (for 10 s)', '#/servers', '#/topics?sort=-bytes']);
  });
  it('tells a matter from any other', () => {
    const keys = [matter({}), matter({ kind: 'behind' }), matter({ group: 'x' })].map(matterKey);
    expect(new Set(keys).size).toBe(3);
  });
});

describe('names, ages and sizes', () => {
  it.each([
    ['orders', ''], ['a.b~c:d-1_x', ''], ['größe', ''], ['', 'empty'], ['a b', 'letters'], ['a/b', 'letters'], ['a..b', 'dots'], ['~a', 'tilde'], ['x'.repeat(201), 'long'], ['Taken', 'taken'],
  ])('%s', (name, fault) => expect(nameFault(name, ['taken'])).toBe(fault));
  it.each([['7d', 604_800_000], ['12h', 43_200_000], ['1.5h', 5_400_000], ['90 min', 5_400_000], ['1500ms', 1500], ['', 0], ['7', undefined], ['x', undefined]])('%s', (text, ms) =>
    expect(readAge(text)).toBe(ms),
  );
  it('an age comes back as it was', () => {
    for (const ms of [1, 1500, 60_000, 86_400_000, 90_061_000]) expect(readAge(writeAge(ms))).toBe(ms);
  });
  it.each([['10 GB', 10_000_000_000n], ['512 MiB', 536_870_912n], ['1,000,000', 1_000_000n], ['1.5k', 1500n], ['9223372036854775807', 9223372036854775807n], ['', 0n], ['-1', undefined], ['1 x', undefined]])('%s', (text, n) =>
    expect(readSize(text)).toBe(n),
  );
});

describe('the palette', () => {
  const source = {
    topics: [{ name: 'orders', groups: ['billing'] }, { name: 'audit', groups: [] }],
    pages: [{ kind: 'page' as const, label: 'Overview', hint: '', path: [] }],
    actions: [{ kind: 'action' as const, label: 'New topic', hint: '', action: 'new' }],
    here: 'orders',
  };
  it('finds by the beginning, a word or the letters in order', () => {
    expect(['ord', 'orders/billing'].map((t) => rank(t, 'ord'))).toEqual([0, 1]);
    expect([rank('orders/billing', 'bill'), rank('orders/billing', 'obl'), rank('orders', 'x')]).toEqual([2, 5, -1]);
    expect(find(source, 'bill').map((e) => e.label)).toEqual(['orders / billing']);
  });
  it('knows offsets and ids', () => {
    expect(find(source, 'audit#1,204')[0]).toMatchObject({ kind: 'offset', path: ['topics', 'audit', 'messages'], query: { from: '1204', at: '1204' } });
    expect(find(source, '#5')[0]).toMatchObject({ path: ['topics', 'orders', 'messages'] });
    expect(find(source, 'a91f-22')[0]).toMatchObject({ kind: 'id', query: { id: 'a91f-22' } });
  });
});
