// Texts are written in English where they are used; another language is a table from
// these texts to its own, loaded when it is chosen. A test holds the tables complete.

import { settings, type Language } from '../lib/settings.svelte';
import { lookup } from './hash';

let find = $state.raw<(text: string) => string | undefined>(() => undefined);

/** t is a text in the chosen language, with {names} filled in. */
export function t(text: string, values: Record<string, string | number | bigint> = {}): string {
  return (find(text) ?? text).replace(/\{(\w+)\}/g, (all, name: string) => String(values[name] ?? all));
}

/** n is one of two texts, by a number that {n} shows. */
export function n(value: number | bigint, one: string, many: string, shown?: string): string {
  return t(BigInt(value) === 1n ? one : many, { n: shown ?? String(value) });
}

/** useLanguage loads what the settings say. */
export async function useLanguage() {
  document.documentElement.lang = settings.language === 'zh' ? 'zh-CN' : 'en';
  find = settings.language === 'zh' ? lookup((await import('./zh.ts?packed')).default) : () => undefined;
}

/** speak changes the language. */
export async function speak(language: Language) {
  settings.set({ language });
  await useLanguage();
}
