// Bodies of messages as bytes and as text.

export interface Carrier {
  body?: string;
  bodyBase64?: string;
}

export function bodyBytes(m: Carrier): Uint8Array {
  if (m.bodyBase64 !== undefined) return fromBase64(m.bodyBase64);
  return new TextEncoder().encode(m.body ?? '');
}

export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

export function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

/** asText is a body's text, or undefined when it is not UTF-8. */
export function asText(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** hexLines is a dump: place, 16 bytes, and what of them can be printed. */
export function hexLines(bytes: Uint8Array, most: number): string[] {
  const lines: string[] = [];
  for (let i = 0; i < bytes.length && lines.length < most; i += 16) {
    const row = bytes.subarray(i, i + 16);
    const hex = Array.from(row, (b, n) => (n === 8 ? ' ' : '') + b.toString(16).padStart(2, '0')).join(' ');
    const text = Array.from(row, (b) => (b > 31 && b < 127 ? String.fromCharCode(b) : '·')).join('');
    lines.push(`${i.toString(16).padStart(8, '0')}  ${hex.padEnd(48)}  ${text}`);
  }
  return lines;
}

/** oneLine is the beginning of a body for a list. */
export function oneLine(m: Carrier, most = 300): string {
  if (m.bodyBase64 !== undefined) return '';
  return (m.body ?? '').slice(0, most).replace(/[\u0000-\u001f\u007f]+/g, ' ');
}

/** fill puts the number, an id and the time into a template. */
export function fill(text: string, n: number): string {
  return text.replace(/\{\{(n|uuid|now)\}\}/g, (_, name: string) => {
    if (name === 'n') return String(n);
    return name === 'now' ? new Date().toISOString() : uuid();
  });
}

/** uuid works without a secure context, which crypto.randomUUID needs. */
export function uuid(): string {
  const b = crypto.getRandomValues(new Uint8Array(16));
  b[6] = (b[6]! & 0x0f) | 0x40;
  b[8] = (b[8]! & 0x3f) | 0x80;
  const hex = Array.from(b, (x) => x.toString(16).padStart(2, '0')).join('');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
