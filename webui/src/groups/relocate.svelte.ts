// Choosing a place for a group: the histogram under the strip, the place, its plan.

import { call, command, Failure, together, type Message, type Position, type Plan, type Schemas, type Twins } from '../api/client';
import { big } from '../lib/format';
import { live } from '../live/live.svelte';
import { clamp, readBuckets, type Bucket, type View } from '../lib/strip';

const settled = 350; // milliseconds of rest until a plan is asked for

export class Relocation {
  buckets = $state.raw<Bucket[]>([]);
  view = $state.raw<View>({ from: 0n, to: 0n });
  axis = $state<'offset' | 'time'>('offset');
  target = $state<bigint>();
  plan = $state.raw<Plan>();
  planned = $state.raw<Position>(); // what the plan was asked for
  planning = $state(false);
  /** Why the plan shown is not the one that was asked for first. */
  renewed = $state('');
  problem = $state('');
  loading = $state(false);
  peek = $state.raw<Message>();

  #abort: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #peekAbort: AbortController | undefined;

  constructor(
    readonly topic: string,
    readonly group: string,
  ) {}

  /** load counts what the view shows. */
  async load(view: View, axis: 'offset' | 'time', filter: string, buckets: number) {
    this.#abort?.abort();
    const abort = (this.#abort = new AbortController());
    this.view = view;
    this.loading = true;
    try {
      const { data } = await call('get', '/topics/{topic}/histogram', {
        params: { path: { topic: this.topic }, query: { axis, buckets, from: String(view.from), to: String(view.to), filter: filter || undefined } },
      }).send(abort.signal);
      this.buckets = readBuckets(data.buckets);
      this.axis = axis;
      this.problem = '';
    } catch (err) {
      if (abort.signal.aborted) return;
      this.problem = live.failed(err, () => this.#abort === abort && this.load(view, axis, filter, buckets));
    }
    if (this.#abort === abort) this.loading = false;
  }

  /** choose sets the place; its plan follows at once, or when the keys rest, or not yet. */
  choose(offset: bigint, whole: View, plan: 'now' | 'soon' | 'later' = 'soon') {
    this.target = clamp(offset, whole.from, whole.to);
    this.plan = undefined;
    this.planned = undefined; // an answer under way is for another place
    this.planning = false;
    this.renewed = '';
    clearTimeout(this.#timer);
    if (plan !== 'later') this.#timer = setTimeout(() => void this.ask(), plan === 'now' ? 0 : settled);
  }

  cancel() {
    clearTimeout(this.#timer);
    this.target = undefined;
    this.plan = undefined;
    this.planned = undefined;
    this.problem = '';
    this.renewed = '';
  }

  planCall(to: Position) {
    return call('post', '/topics/{topic}/groups/{group}/plans', { params: { path: { topic: this.topic, group: this.group } }, body: { to } });
  }

  /** ask has the broker say what going to a place would do; nothing changes by it. */
  async ask(to?: Position) {
    clearTimeout(this.#timer);
    const place: Position | undefined = to ?? (this.target === undefined ? undefined : { offset: String(this.target) });
    if (place === undefined) return;
    this.planning = true;
    this.planned = place;
    try {
      const { data } = await this.planCall(place).send();
      if (this.planned !== place) return;
      this.#show(data);
    } catch (err) {
      if (this.planned !== place) return;
      this.plan = undefined;
      this.problem = live.failed(err, () => this.planned === place && this.ask(place));
    } finally {
      if (this.planned === place) this.planning = false;
    }
  }

  #show(plan: Plan) {
    this.plan = plan;
    this.target = big(plan.to);
    this.problem = '';
  }

  twins(reason: string): Twins {
    const to: Position = this.planned ?? { offset: this.plan?.to ?? '' };
    const cli = command({ name: 'POST /topics/{topic}/groups/{group}/plans', path: { topic: this.topic, group: this.group }, query: {}, body: { to, reason } });
    return { curl: together([this.planCall(to), this.applyCall(reason)]).curl, cli };
  }

  applyCall(reason: string) {
    return call('post', '/plans/{plan}:apply', { params: { path: { plan: this.plan?.id ?? '' } }, body: reason ? { reason } : {} });
  }

  /**
   * apply does what the plan says. Undefined: the group moved meanwhile, and the plan
   * shown now is a fresh one to look at.
   */
  async apply(reason: string): Promise<Schemas['Moved'] | undefined> {
    try {
      const { data } = await this.applyCall(reason).send();
      return data;
    } catch (err) {
      if (!(err instanceof Failure)) throw err;
      if (err.problem.plan) {
        this.#show(err.problem.plan);
        this.renewed = 'moved';
        return undefined;
      }
      if (err.problem.code === 'not_found' || err.problem.code === 'conflict') {
        await this.ask(this.planned);
        if (!this.plan) throw err;
        this.renewed = 'expired';
        return undefined;
      }
      throw err;
    }
  }

  /** look fetches the message at the place, to show what is there. */
  async look(offset: bigint) {
    this.#peekAbort?.abort();
    const abort = (this.#peekAbort = new AbortController());
    try {
      const { data } = await call('get', '/topics/{topic}/messages', {
        params: { path: { topic: this.topic }, query: { from: String(offset), dir: 'next', limit: 1 } },
      }).send(abort.signal);
      this.peek = data.messages[0];
    } catch {
      if (!abort.signal.aborted) this.peek = undefined;
    }
  }

  /** match finds the next message that passes the filter, from a place on. */
  async match(from: bigint, dir: 'next' | 'prev'): Promise<bigint | undefined> {
    let at = String(dir === 'next' ? from + 1n : from > 0n ? from - 1n : 0n);
    for (let calls = 0; calls < 10; calls++) {
      const { data } = await call('get', '/topics/{topic}/messages', {
        params: { path: { topic: this.topic }, query: { from: at, dir, limit: 1, group: this.group } },
      }).send();
      if (data.messages[0]) return BigInt(data.messages[0].offset);
      if (!data.more) return undefined;
      at = data.scannedTo;
    }
    return undefined;
  }
}
