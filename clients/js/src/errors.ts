import type { components } from './schema.js';

/** The codes of the API, `closed` for a client that was closed, and `gap`: see {@link Gap}. */
export type Code = components['schemas']['Problem']['code'] | 'closed' | 'gap';

/** What a broker refused, or what nobody knows the outcome of. */
export class ZbusError extends Error {
  override readonly name: string = 'ZbusError';

  constructor(
    /** For programs. With `unknown`, `timeout` and `provider_gone` it may have been done. */
    readonly code: Code,
    message: string,
    /** More of what the broker said: `status`, `missing` (the grant that would allow it), `failed` handles. */
    readonly problem: Partial<components['schemas']['Problem']> = {},
  ) {
    super(message);
  }

  /** Whether it may have been done although it failed. */
  get maybe(): boolean {
    return this.code === 'unknown' || this.code === 'timeout' || this.code === 'provider_gone';
  }
}

/** An error of a service: thrown by its methods, and by {@link Client.call}. */
export class CallError extends Error {
  override readonly name = 'CallError';
  /** What kind of error it is, as in HTTP: 400 to 599. */
  readonly status: number;
  /** Which error it is, for programs. */
  readonly code: string | undefined;
  /** More about it. */
  readonly data: unknown;

  constructor(message: string, more: { status?: number; code?: string; data?: unknown } = {}) {
    super(message);
    this.status = more.status ?? 500;
    this.code = more.code;
    this.data = more.data;
  }
}

/** errorOf makes an error of a problem, which a frame or the body of an answer has. */
export function errorOf(p: Record<string, any>): Error {
  const said = p.error;
  if (p.code === 'call_failed') {
    const own = said !== null && typeof said === 'object';
    return new CallError(p.detail ?? 'the service failed', {
      status: p.status ?? 500,
      code: own && typeof said.code === 'string' ? said.code : undefined,
      data: own ? (said.data ?? (said.code === undefined ? said : undefined)) : undefined,
    });
  }
  return new ZbusError(p.code ?? 'internal', p.detail ?? 'the broker failed', p);
}
