// Who looks at the console, and what that account may do.

import { call, explain, Failure, onRefused, type Schemas } from '../api/client';
import { curlAs } from '../api/curl';
import { t } from '../i18n/text.svelte';
import { covers, needed, parseGrant, type Grant } from '../lib/grants';
import { toasts } from '../lib/toasts.svelte';
import { live } from '../live/live.svelte';
import { answer, leave, secret } from './link';

type Whoami = Schemas['Whoami'];

class Me {
  /** What the broker said last; undefined: it did not answer. */
  is = $state.raw<Whoami>();
  /** The secret of the link that opened this page, until it is used. */
  secret = $state(secret);
  /** The account whose page is open: it stays open below while one logs in again. */
  was = $state('');
  /** Why signing on with the issuer has failed; '' when it has not. */
  failed = $state('');
  #grants = $derived<Grant[]>((this.is?.grants ?? []).flatMap((g) => parseGrant(g, this.is?.account ?? '') ?? []));
  #asking: Promise<void> | undefined;

  get off() {
    return this.is?.access === 'off';
  }

  /** What is shown: the console, or what comes before it. */
  get stage(): 'in' | 'login' | 'setup' | 'link' {
    if (!this.is || this.off || this.is.account) return 'in';
    if (!this.is.setup) return 'login';
    return this.secret ? 'link' : 'setup';
  }

  /** refresh asks who one is, once for all who want to know at the same time. */
  refresh(): Promise<void> {
    return (this.#asking ??= call('get', '/whoami', {})
      .send(AbortSignal.timeout(10_000))
      .then(({ data }) => this.take(data))
      .catch(() => undefined) // without an answer it stays as it was
      .finally(() => (this.#asking = undefined)));
  }

  take(is: Whoami) {
    const account = is.account ?? '';
    // What is below belongs to another account, or to none: it is loaded again.
    if (this.is && this.was && account && account !== this.was) return location.reload();
    this.is = is;
    curlAs(account);
    if (account) this.was = account;
    live.rest(this.stage !== 'in');
  }

  async login(account: string, password: string) {
    this.take((await call('post', '/login', { body: { account, password } }).send()).data);
  }

  /** signOn goes to the page of an issuer. */
  async signOn(issuer: string) {
    leave((await call('post', '/sign-on', { body: { issuer } }).send()).data.url);
  }

  /** arrive finishes what the issuer has sent this page back with, or finds out who one is. */
  async arrive(language: Promise<unknown>) {
    if (!answer) return this.refresh();
    await language;
    const { code, state, iss, error } = answer;
    try {
      // Anybody can make a link with an error in it: no more of it is shown than a word.
      if (!code) throw new Error(t('The issuer did not sign you on: {error}', { error: /^\w{1,40}$/.test(error) ? error : '?' }));
      this.take((await call('put', '/sign-on', { body: { code, state, iss } }).send()).data);
    } catch (err) {
      this.failed = explain(err);
      await this.refresh();
    }
  }

  async setUp(account: string, password: string) {
    const { data } = await call('post', '/setup', { body: { secret: this.secret, account, password } }).send();
    this.secret = '';
    this.take(data);
  }

  /** change sets one's own password. That ends all logins, also this one: it begins anew. */
  change(account: string, old: string, password: string): Promise<void> {
    return (this.#asking = call('put', '/accounts/{account}/password', { params: { path: { account } }, body: { old, password } })
      .send()
      .then(() => this.login(account, password))
      .finally(() => (this.#asking = undefined)));
  }

  async logout() {
    try {
      const { data } = await call('delete', '/login', {}).send();
      if (data) return leave(data.url); // one is still logged in at the issuer
    } catch (err) {
      // It is over anyway, or it is not over and must be said so.
      if (!(err instanceof Failure) || err.problem.status !== 401) return toasts.say(explain(err), true);
    }
    location.reload(); // nothing of the account stays in the page
  }

  may(verb: string, topic = '', group = ''): boolean {
    return !this.is || this.off || this.#grants.some((g) => covers(g, verb, topic, group));
  }

  /** mayAny reports whether one may do something with any topic at all, or any group of one. */
  mayAny(verb: string, topic = ''): boolean {
    const fits = (g: Grant) => g.verbs.includes(verb) && (!topic || covers({ ...g, group: undefined }, verb, topic));
    return !this.is || this.off || this.#grants.some((g) => g.verbs.includes('admin') || fits(g));
  }

  /** lacks is the grant that one would need to do something; '' when one has it. */
  lacks(verb: string, topic = '', group = ''): string {
    return (topic ? this.may(verb, topic, group) : this.mayAny(verb)) ? '' : needed(verb, topic, group);
  }

  /** lacksAny is lacks for any group of a topic. */
  lacksAny(verb: string, topic: string): string {
    return this.mayAny(verb, topic) ? '' : needed(verb, topic);
  }

  /** lacksAll is lacks for several topics. */
  lacksAll(verb: string, topics: readonly string[]): string {
    const missing = topics.filter((x) => !this.may(verb, x)).map((x) => needed(verb, x));
    return missing.slice(0, 3).join(', ') + (missing.length > 3 ? ', …' : '');
  }
}

/**
 * needs is for a control that takes a grant. Without it, the control stays where it is and says
 * why when it is pointed at or pressed.
 */
export function needs(el: HTMLElement, lacking: string) {
  const title = el.title;
  let reason = '';
  const press = (e: Event) => {
    if (!reason) return;
    e.preventDefault();
    e.stopImmediatePropagation();
    toasts.say(reason);
  };
  const update = (lacking: string) => {
    reason = lacking && t('Needs the grant {grant}', { grant: lacking });
    if (reason) el.setAttribute('aria-disabled', 'true');
    else el.removeAttribute('aria-disabled');
    if (el.title !== (reason || title)) el.title = reason || title;
  };
  update(lacking);
  el.addEventListener('click', press, true);
  return { update };
}

export const me = new Me();
onRefused(() => void me.refresh());
live.onlost = () => void me.refresh();
live.observes = () => me.may('observe');
