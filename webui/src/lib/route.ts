// Addresses of views: #/topics/orders/messages?from=812000&tag=eu.*

export interface Route {
  path: string[];
  query: Record<string, string>;
}

export function parseRoute(hash: string): Route {
  const text = hash.replace(/^#?\/?/, '');
  const [path = '', query = ''] = splitOnce(text, '?');
  return {
    path: path.split('/').filter((p) => p !== '').map(decode),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

function splitOnce(text: string, by: string): string[] {
  const i = text.indexOf(by);
  return i < 0 ? [text] : [text.slice(0, i), text.slice(i + 1)];
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** link makes an address; empty values of the query are left out. */
export function link(path: readonly string[], query: Record<string, string | undefined> = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value) search.set(name, value);
  const text = search.toString().replace(/%2C/gi, ',').replace(/%3A/gi, ':');
  return '#/' + path.map(encodeURIComponent).join('/') + (text ? '?' + text : '');
}
