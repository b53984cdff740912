// The curl twin of a call: what is shown is made from what is sent.

export interface Shape {
  method: string;
  url: string; // absolute
  headers?: Record<string, string>;
  body?: string;
}

/** quote makes one word of any text for a POSIX shell. */
export function quote(text: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

let user = '';

/** curlAs has the twins be sent by an account: curl asks for its password. */
export function curlAs(account: string) {
  user = account;
}

export function curlOf(shape: Shape): string {
  const words = ['curl', ...(user ? ['-u', quote(user)] : [])];
  if (shape.body === undefined ? shape.method !== 'GET' : shape.method !== 'POST') words.push('-X', shape.method);
  words.push(quote(shape.url));
  for (const [name, value] of Object.entries(shape.headers ?? {})) words.push('-H', quote(`${name}: ${value}`));
  if (shape.body !== undefined) words.push('--data-binary', quote(shape.body));
  return words.join(' ');
}
