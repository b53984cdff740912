// Where we are. The address holds all of a view's state, so that it can be reopened.

import { link, parseRoute, type Route } from './route';

class Router {
  route = $state.raw<Route>(parseRoute(location.hash));
  #hash = location.hash; // that route is of

  start() {
    addEventListener('hashchange', () => this.#read());
  }

  get path() {
    return this.route.path;
  }

  get query() {
    return this.route.query;
  }

  /** go opens a view; replace keeps it out of the history. */
  go(path: readonly string[], query: Record<string, string | undefined> = {}, replace = false) {
    const hash = link(path, query);
    if (hash === location.hash) return;
    if (replace) {
      history.replaceState(null, '', hash);
      this.#read();
    } else {
      location.hash = hash;
    }
  }

  /** change sets some of the query and keeps the rest. */
  change(query: Record<string, string | undefined>, replace = true) {
    // Somebody is on the way to another view, which must not get this one's query.
    if (location.hash !== this.#hash) return;
    this.go(this.path, { ...this.query, ...query }, replace);
  }

  #read() {
    this.#hash = location.hash;
    this.route = parseRoute(location.hash);
  }
}

export const router = new Router();
