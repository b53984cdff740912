// The zbus command that does what a call does, where there is one that does just that.

import { quote } from './curl';
import type { components } from './schema';

type Schemas = components['schemas'];

type Body = Record<string, unknown>;

export interface Operation {
  /** Method and path as in openapi.yaml: POST /topics/{topic}:empty. */
  name: string;
  path: Record<string, string>;
  query: Record<string, unknown>;
  body: unknown;
}

/** duration is what the commands read: 7d, 12h, 90s. */
function duration(ms: unknown): string {
  const n = Number(ms);
  for (const [unit, size] of [['d', 86_400_000], ['h', 3_600_000], ['m', 60_000], ['s', 1000]] as const) {
    if (n > 0 && n % size === 0) return n / size + unit;
  }
  return n + 'ms';
}

/** placeText is a place as --to and --start read it. */
export function placeText(place: Schemas['Position']): string {
  if (typeof place === 'string') return place;
  if (place.offset !== undefined) return String(place.offset);
  if (place.time !== undefined) return new Date(place.time).toISOString();
  if (place.messageId !== undefined) return 'id:' + place.messageId;
  if (place.group !== undefined) return 'group:' + place.group;
  return place.shift === undefined ? '' : String(place.shift).replace(/^(\d)/, '+$1');
}

/** words adds flags; undefined, false and '' are none. A value may begin with a dash. */
function words(...list: (string | [string, unknown])[]): string {
  const out = ['zbus'];
  for (const w of list) {
    if (typeof w === 'string') out.push(quote(w));
    else if (w[1] === true) out.push('--' + w[0]);
    else if (w[1] !== undefined && w[1] !== false && w[1] !== '') out.push(quote(`--${w[0]}=${String(w[1])}`));
  }
  return out.join(' ');
}

const limits = (r: Schemas['Retention'] | undefined, none?: string): [string, unknown][] => [
  ['max-age', r?.maxAge ? duration(r.maxAge) : none],
  ['max-count', r?.maxCount && r.maxCount !== '0' ? r.maxCount : none],
  ['max-bytes', r?.maxBytes && r.maxBytes !== '0' ? r.maxBytes : none],
];

const settings = (b: Body): [string, unknown][] => [
  ['explicit', b.settle === 'explicit' ? true : b.settle === 'auto' ? 'false' : undefined],
  ['ack-timeout', b.ackTimeout === undefined ? undefined : duration(b.ackTimeout)],
  ['ack-window', b.ackWindow],
  ['max-deliver', b.maxDeliver],
  ['exclusive', b.exclusive === undefined ? undefined : b.exclusive || 'false'],
];

function produce(topic: string, m: Schemas['NewMessage']): string {
  if (Array.isArray(m) || typeof m === 'string' || m.bodyBase64 !== undefined) return '';
  const headers = Object.entries({ ...m.headers, ...(m.key ? { key: m.key } : {}) }).map(([name, value]): [string, unknown] => ['header', `${name}=${value}`]);
  return words('produce', topic, ['tag', m.tag], ['id', m.id], ...headers) + ` --body=${quote(m.body ?? '')}`;
}

function change(topic: string, group: string, { reason, ...b }: Body): string {
  const kinds = Object.keys(b);
  if (kinds.length === 1 && b.paused !== undefined) return words('group', b.paused ? 'pause' : 'resume', topic, group);
  if (kinds.length === 1 && b.filter !== undefined) return words('group', 'filter', topic, group, ...(b.filter ? [String(b.filter)] : []), ['none', b.filter === ''], ['reason', reason], ['yes', true]);
  return b.paused === undefined && b.filter === undefined ? words('group', 'set', topic, group, ...settings(b)) : '';
}

/** cliOf is the command for an operation, or nothing. server is how it finds the broker. */
export function cliOf(o: Operation, server: string): string {
  const command = commandOf(o);
  return command && `${command} --server=${quote(server)}`;
}

function commandOf({ name, path, query, body }: Operation): string {
  const b = (body ?? {}) as Body;
  const [topic = '', group = ''] = [path.topic, path.group];
  switch (name) {
    case 'POST /topics':
      return words('topic', 'create', String(b.name), ['kind', b.kind], ...limits(b.retention as Schemas['Retention']));
    case 'PATCH /topics/{topic}':
      return words('topic', 'set', topic, ...limits(b.retention as Schemas['Retention'], '0'), ['yes', true]);
    case 'DELETE /topics/{topic}':
      return words('topic', 'delete', topic, ['yes', true]);
    case 'POST /topics/{topic}:empty':
      return words('topic', 'empty', topic, ['yes', true]);
    case 'POST /topics/{topic}:pause':
      return words('topic', 'pause', topic);
    case 'POST /topics/{topic}:resume':
      return words('topic', 'resume', topic);
    case 'POST /topics/{topic}/groups': {
      const start = b.start === undefined ? undefined : placeText(b.start as Schemas['Position']);
      return words('group', 'create', topic, String(b.name), ['start', start], ['filter', b.filter], ...settings({ ...b, settle: b.settle === 'auto' ? undefined : b.settle, exclusive: b.exclusive || undefined }), ['paused', b.paused]);
    }
    case 'PATCH /topics/{topic}/groups/{group}':
      return change(topic, group, b);
    case 'DELETE /topics/{topic}/groups/{group}':
      return words('group', 'delete', topic, group, ['yes', true]);
    case 'POST /topics/{topic}/groups/{group}/plans':
      return words('relocate', topic, group, ['to', placeText(b.to as Schemas['Position'])], ['reason', b.reason], ['yes', true]);
    case 'POST /topics/{topic}/filters:test':
      return words('group', 'filter', topic, String(b.group), String(b.filter), ['last', b.last], ['test', true]);
    case 'POST /topics/{topic}/messages':
      return produce(topic, body as Schemas['NewMessage']);
    case 'POST /topics/{topic}/messages:redrive':
      return b.edit ? '' : words('dead', b.drop ? 'drop' : 'redrive', topic, ...((b.offsets as string[]) ?? []), ['group', b.group], ['kind', b.kind], ['text', b.text], ['rate', b.rate], ['yes', true]);
    case 'POST /servers/{address}:drain':
      return words('server', 'drain', path.address!, ['yes', true]);
    case 'POST /servers/{address}:undrain':
      return words('server', 'undrain', path.address!);
    case 'DELETE /sessions/{session}':
      return words('server', 'disconnect', path.session!, ['reason', query.reason], ['yes', true]);
    case 'POST /journal/{entry}:revert':
      return words('group', 'undo', topic, group, path.entry!, ['reason', b.reason]);
    case 'GET /definitions':
      return 'zbus server export';
    case 'POST /definitions':
      return words('server', 'import', 'definitions.json', ['prune', query.prune], query.dryRun ? ['dry-run', true] : ['yes', true]);
    case 'POST /rpc/{topic}/{method}':
      if (query.module) return '';
      return (body ? `echo ${quote(String(body))} | ` : '') + words('call', topic, path.method!, ['params', body ? '-' : ''], ['timeout', query.timeout ? duration(query.timeout) : '']);
    default:
      return '';
  }
}
