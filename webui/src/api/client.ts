// Calls to the broker. A call is made first and sent then, so that its curl twin can
// be shown before anything happens.

import createClient, { type FetchResponse, type MaybeOptionalInit } from 'openapi-fetch';
import type { HttpMethod, PathsWithMethod } from 'openapi-typescript-helpers';
import { curlOf } from './curl';
import type { components, paths } from './schema';

export type Schemas = components['schemas'];
export type Topic = Schemas['Topic'];
export type Group = Schemas['Group'];
export type Message = Schemas['Message'];
export type Plan = Schemas['Plan'];
export type Problem = Schemas['Problem'];
export type Place = Schemas['Place'];

/** Failure is a call that was not done. The text is what the broker says. */
export class Failure extends Error {
  constructor(
    readonly problem: Problem,
    /** lost: no answer came, so nobody knows whether it was done. */
    readonly lost = false,
  ) {
    super(problem.detail || problem.title);
  }
}

/** explain is the text of whatever was thrown. */
export function explain(err: unknown): string {
  return err instanceof Error ? err.message : String(err);
}

export interface Answer<T> {
  data: T;
  etag: string;
  status: number;
}

export interface Call<T> {
  curl: string;
  send(signal?: AbortSignal): Promise<Answer<T>>;
}

const base = new URL('../api/v1', document.baseURI).href;
const client = createClient<paths>({ baseUrl: base });

type Data<P extends keyof paths, M extends HttpMethod, I> = M extends keyof paths[P]
  ? NonNullable<FetchResponse<paths[P][M] extends Record<string | number, unknown> ? paths[P][M] : never, I, 'application/json'>['data']>
  : never;

/** call prepares one operation of the API. */
export function call<
  M extends HttpMethod,
  P extends PathsWithMethod<paths, M>,
  I extends MaybeOptionalInit<paths[P], M>,
>(method: M, path: P, init: I): Call<Data<P, M, I>> {
  const options = init as {
    params?: { path?: Record<string, string>; query?: Record<string, unknown>; header?: Record<string, string> };
    body?: unknown;
  };
  const headers: Record<string, string> = { ...options.params?.header };
  let body: string | undefined;
  if (options.body !== undefined) {
    headers['Content-Type'] = typeof options.body === 'string' ? 'application/x-ndjson' : 'application/json';
    body = typeof options.body === 'string' ? options.body : JSON.stringify(options.body);
  }
  const shape = { method: method.toUpperCase(), url: base + fillPath(path as string, options.params), headers, body };
  return {
    get curl() {
      return curlOf(shape);
    },
    send: (signal) => send(method, path, { ...options, headers, signal }),
  };
}

function fillPath(path: string, params?: { path?: Record<string, string>; query?: Record<string, unknown> }): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params?.path?.[name] ?? ''));
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params?.query ?? {})) {
    if (value !== undefined && value !== '') query.set(name, String(value));
  }
  return query.size ? `${filled}?${query}` : filled;
}

async function send<T>(method: HttpMethod, path: string, init: object): Promise<Answer<T>> {
  const serialise = { bodySerializer: (b: unknown) => (typeof b === 'string' ? b : JSON.stringify(b)) };
  let result: { data?: unknown; error?: unknown; response: Response };
  try {
    // The types were checked by call; here any operation is as good as another.
    result = await (client.request as (m: string, p: string, i: object) => Promise<typeof result>)(method, path, {
      ...init,
      ...serialise,
    });
  } catch (err) {
    if (err instanceof DOMException && err.name === 'AbortError') throw err;
    throw new Failure({ type: 'about:blank', title: explain(err), status: 0, code: 'unavailable' }, true);
  }
  const { data, error, response } = result;
  if (!response.ok) throw new Failure(problemOf(error, response));
  return { data: data as T, etag: response.headers.get('ETag') ?? '', status: response.status };
}

function problemOf(error: unknown, response: Response): Problem {
  if (typeof error === 'object' && error !== null && 'code' in error) return error as Problem;
  const title = `${response.status} ${response.statusText}`.trim();
  return { type: 'about:blank', title, status: response.status, code: 'internal', detail: typeof error === 'string' && error ? error : undefined };
}

/** socketURL is where the live figures come from. */
export function socketURL(): string {
  return base.replace(/^http/, 'ws') + '/ws';
}
