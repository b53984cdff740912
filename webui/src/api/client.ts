// Calls to the broker. A call is made first and sent then, so that its curl twin can
// be shown before anything happens.

import type { FetchResponse, MaybeOptionalInit } from 'openapi-fetch';
import type { HttpMethod, PathsWithMethod } from 'openapi-typescript-helpers';
import { cliOf, type Operation } from './cli';
import { curlOf, type Shape } from './curl';
import { t } from '../i18n/text.svelte';
import type { components, paths } from './schema';

export type Schemas = components['schemas'];
export type Topic = Schemas['Topic'];
export type Group = Schemas['Group'];
export type Message = Schemas['Message'];
export type Plan = Schemas['Plan'];
export type Problem = Schemas['Problem'];
export type Position = Schemas['Position'];

/** topicsIn are the topics of this server in the answer of a list that asked for no others. */
export const topicsIn = (data: { topics: (Topic | Schemas['ClusterTopic'])[] }) => data.topics as Topic[];

/** Failure is a call that was not done. The text is what the broker says. */
export class Failure extends Error {
  constructor(
    readonly problem: Problem,
    /** lost: no answer came, so nobody knows whether it was done. */
    readonly lost = false,
    /** How many seconds to wait before another try, if the broker said so. */
    readonly wait = 0,
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

/** Twins are a call as it is made from a shell. */
export interface Twins {
  curl: string;
  /** Empty where no command does the same. */
  cli: string;
}

export interface Call<T> extends Twins {
  send(signal?: AbortSignal): Promise<Answer<T>>;
}

const base = new URL('../api/v1', document.baseURI).href;

type Data<P extends keyof paths, M extends HttpMethod, I> = M extends keyof paths[P]
  ? NonNullable<FetchResponse<paths[P][M] extends Record<string | number, unknown> ? paths[P][M] : never, I, 'application/json'>['data']>
  : never;

/** call prepares one operation of the API. A body that is a text is sent as it is. */
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
    const text = typeof options.body === 'string';
    headers['Content-Type'] = text ? 'application/x-ndjson' : 'application/json';
    body = text ? (options.body as string) : JSON.stringify(options.body);
  }
  const name = `${method.toUpperCase()} ${path as string}`;
  return prepared(
    { method: method.toUpperCase(), url: address(path as string, options.params), headers, body },
    { name, path: options.params?.path ?? {}, query: options.params?.query ?? {}, body: options.body },
  );
}

/** prepared is the call of a request that is written out. */
export function prepared<T>(shape: Shape, operation?: Operation): Call<T> {
  return {
    get curl() {
      return curlOf(shape);
    },
    get cli() {
      return operation ? command(operation) : '';
    },
    send: async (signal) => {
      const response = await ask(shape, signal);
      const text = await arrived(response.text());
      if (!response.ok) throw new Failure(problemOf(text, response), false, Number(response.headers.get('Retry-After')) || 0);
      return { data: (text ? JSON.parse(text) : undefined) as T, etag: response.headers.get('ETag') ?? '', status: response.status };
    },
  };
}

/** command is the zbus command for an operation at this broker. */
export function command(operation: Operation): string {
  const { protocol, host, origin } = new URL(base);
  return cliOf(operation, protocol === 'http:' ? host : origin);
}

/** together are several calls, one after the other. */
export function together(calls: readonly Twins[]): Twins {
  return { curl: calls.map((c) => c.curl).join('\n'), cli: calls.map((c) => c.cli).join('\n') };
}

let refused = () => {};

/** onRefused is told of every answer that says that one may not, or has to say who one is. */
export function onRefused(f: () => void) {
  refused = f;
}

/** ask sends a request and gives the answer as it comes. */
export async function ask({ method, url, headers, body }: Shape, signal?: AbortSignal): Promise<Response> {
  const response = await arrived(fetch(url, { method, headers, body, signal }));
  if (response.status === 401 || response.status === 403) refused();
  return response;
}

/** arrived is what comes over the network, or a Failure that says that it was lost. */
export async function arrived<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (err) {
    if (err instanceof DOMException && err.name === 'AbortError') throw err;
    throw new Failure({ type: 'about:blank', title: t('The broker did not answer.'), status: 0, code: 'unavailable' }, true);
  }
}

/** address is the whole URL of an operation. */
export function address(path: string, params?: { path?: Record<string, string>; query?: Record<string, unknown> }): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params?.path?.[name] ?? ''));
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params?.query ?? {})) {
    if (value !== undefined && value !== '') query.set(name, String(value));
  }
  return base + (query.size ? `${filled}?${query}` : filled);
}

/** problemOf reads an answer that is not 2xx. */
export function problemOf(text: string, response: Response): Problem {
  try {
    const problem = JSON.parse(text) as Problem;
    if (problem.code) return problem;
  } catch {
    // Not an answer of the broker's API.
  }
  const title = `${response.status} ${response.statusText}`.trim();
  return { type: 'about:blank', title, status: response.status, code: 'internal', detail: text || undefined };
}

/** socketURL is where the live figures come from. */
export function socketURL(): string {
  return base.replace(/^http/, 'ws') + '/ws';
}
