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
  const chars = atob(text);
  const bytes = new Uint8Array(chars.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = chars.charCodeAt(i);
  return bytes;
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

// Controls, what turns the direction of text around, and what takes no room.
const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** shown writes what can't be seen, or changes what is seen around it, as its code. */
export function shown(text: string): string {
  return text.replace(hidden, (c) => `⟨${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`);
}

/** pieces are the parts of a text, those that can't be seen by themselves. */
export function pieces(text: string): { text: string; hidden: boolean }[] {
  const list: { text: string; hidden: boolean }[] = [];
  let from = 0;
  for (const m of text.matchAll(hidden)) {
    if (m.index > from) list.push({ text: text.slice(from, m.index), hidden: false });
    list.push({ text: shown(m[0]), hidden: true });
    from = m.index + m[0].length;
  }
  if (from < text.length || list.length === 0) list.push({ text: text.slice(from), hidden: false });
  return list;
}

/** mostDecoded is up to how many bytes a body is decoded. */
export const mostDecoded = 16 << 20;

export interface Decoded {
  bytes: Uint8Array;
  /** Whether there is more than was decoded. */
  more: boolean;
}

/**
 * decode undoes a content-encoding, or is undefined when the browser can't or the body
 * is something else. A small body can be huge: it ends at the limit.
 */
export async function decode(bytes: Uint8Array, encoding: string, most = mostDecoded): Promise<Decoded | undefined> {
  const names: Record<string, CompressionFormat[]> = { gzip: ['gzip'], 'x-gzip': ['gzip'], deflate: ['deflate', 'deflate-raw'] };
  for (const format of names[encoding.trim().toLowerCase()] ?? []) {
    try {
      return await inflate(bytes, format, most);
    } catch {
      // The next one: what HTTP calls deflate comes with and without a frame.
    }
  }
  return undefined;
}

async function inflate(bytes: Uint8Array, format: CompressionFormat, most: number): Promise<Decoded> {
  const reader = new Blob([bytes as BlobPart]).stream().pipeThrough(new DecompressionStream(format)).getReader();
  const parts: Uint8Array[] = [];
  let size = 0;
  let more = false;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    parts.push(value.subarray(0, most - size));
    size += value.length;
    if (size > most) {
      more = true;
      await reader.cancel();
      break;
    }
  }
  return { bytes: new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer()), more };
}

/** hexLine is the nth line of a dump: place, 16 bytes, and what of them can be printed. */
export function hexLine(bytes: Uint8Array, n: number): string {
  const row = bytes.subarray(n * 16, n * 16 + 16);
  const hex = Array.from(row, (b, i) => (i === 8 ? ' ' : '') + b.toString(16).padStart(2, '0')).join(' ');
  const text = Array.from(row, (b) => (b > 31 && b < 127 ? String.fromCharCode(b) : '·')).join('');
  return `${(n * 16).toString(16).padStart(8, '0')}  ${hex.padEnd(48)}  ${text}`;
}

/** hexLines is a dump of so many lines at most. */
export function hexLines(bytes: Uint8Array, most: number): string[] {
  return Array.from({ length: Math.min(most, Math.ceil(bytes.length / 16)) }, (_, i) => hexLine(bytes, i));
}

/** oneLine is the beginning of a body for a list. */
export function oneLine(m: Carrier, most = 300): string {
  if (m.bodyBase64 !== undefined) return '';
  return shown((m.body ?? '').slice(0, most).replace(/[\t\n\r]+/g, ' '));
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
