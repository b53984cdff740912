// A call by hand: its request as text, so that every digit arrives, and what became
// of it.

import { address, arrived, ask, command, explain, Failure, problemOf, type Problem, type Twins } from '../api/client';
import { curlOf, type Shape } from '../api/curl';

export interface Trial {
  topic: string;
  method: string;
  module: string;
  params: string;
  timeout: string;
}

export interface Outcome {
  trial: Trial;
  time: number; // milliseconds since 1970
  took: number; // milliseconds, as seen from here
  status: number; // 0: no answer came
  /** What the broker says that the call took: waiting for a provider, and there. */
  queue?: number;
  provider?: number;
  text: string; // the answer as it came
  problem?: Problem;
}

export function shapeOf(t: Trial): Shape {
  const url = address('/rpc/{topic}/{method}', {
    path: { topic: t.topic, method: t.method },
    query: { module: t.module, timeout: t.timeout },
  });
  const body = t.params.trim();
  return body ? { method: 'POST', url, headers: { 'Content-Type': 'application/json' }, body } : { method: 'POST', url };
}

export function twins({ topic, method, ...t }: Trial): Twins {
  const query = { module: t.module, timeout: t.timeout };
  return {
    curl: curlOf(shapeOf({ topic, method, ...t })),
    cli: command({ name: 'POST /rpc/{topic}/{method}', path: { topic, method }, query, body: t.params.trim() }),
  };
}

/** timing reads a Server-Timing header. */
export function timing(header: string | null): { queue?: number; provider?: number } {
  const found: Record<string, number> = {};
  for (const [, name, value] of (header ?? '').matchAll(/(\w+);dur=([\d.]+)/g)) found[name!] = Number(value);
  return { queue: found.queue, provider: found.provider };
}

export async function make(trial: Trial, signal: AbortSignal): Promise<Outcome> {
  const time = Date.now();
  const began = performance.now();
  try {
    const response = await ask(shapeOf(trial), signal);
    const text = await arrived(response.text());
    return {
      trial, time, took: performance.now() - began, status: response.status, text,
      ...timing(response.headers.get('Server-Timing')),
      problem: response.ok ? undefined : problemOf(text, response),
    };
  } catch (err) {
    if (signal.aborted) throw err;
    const problem: Problem = err instanceof Failure ? err.problem : { type: 'about:blank', title: explain(err), status: 0, code: 'internal' };
    return { trial, time, took: performance.now() - began, status: 0, text: '', problem };
  }
}

interface Schema {
  type?: string | string[];
  title?: string;
  description?: string;
  prefixItems?: Schema[];
  items?: Schema | Schema[] | boolean;
  properties?: Record<string, Schema>;
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  examples?: unknown[];
}

const schema = (x: unknown): Schema => (typeof x === 'object' && x !== null ? (x as Schema) : {});
const itemsOf = (s: Schema): Schema[] => (Array.isArray(s.prefixItems) ? s.prefixItems : Array.isArray(s.items) ? s.items : []);

/** typeText is a type in a few words: number, string | null, array of string. */
export function typeText(x: unknown): string {
  const s = schema(x);
  if (s.enum) return s.enum.map((v) => JSON.stringify(v)).join(' | ');
  if (s.const !== undefined) return JSON.stringify(s.const);
  const type = Array.isArray(s.type) ? s.type.join(' | ') : s.type;
  if (type === 'array' && s.items && !Array.isArray(s.items)) return `array of ${typeText(s.items)}`;
  if (type === 'array' && itemsOf(s).length) return `[${itemsOf(s).map(typeText).join(', ')}]`;
  if (type === 'object' && s.properties) return `{${Object.keys(s.properties).join(', ')}}`;
  return type ?? 'any';
}

/** hints are what is known of each parameter. */
export function hints(params: unknown): { name: string; type: string; text: string }[] {
  return itemsOf(schema(params)).map((p, i) => ({ name: schema(p).title ?? `[${i}]`, type: typeText(p), text: schema(p).description ?? '' }));
}

/** example is a value that a schema describes, to begin with. */
export function example(x: unknown, depth = 0): unknown {
  const s = schema(x);
  for (const given of [s.const, s.default, s.examples?.[0], s.enum?.[0]]) if (given !== undefined) return given;
  if (depth > 6) return null;
  switch (Array.isArray(s.type) ? s.type[0] : (s.type ?? (s.properties ? 'object' : itemsOf(s).length ? 'array' : ''))) {
    case 'object':
      return Object.fromEntries(Object.entries(schema(s.properties)).map(([name, p]) => [name, example(p, depth + 1)]));
    case 'array':
      return itemsOf(s).map((p) => example(p, depth + 1));
    case 'string':
      return '';
    case 'number':
    case 'integer':
      return 0;
    case 'boolean':
      return false;
    default:
      return null;
  }
}
