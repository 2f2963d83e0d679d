// The language in use: what was chosen here before, else what the browser asks for.
import { computed, signal } from '@preact/signals';
import { en, type Texts } from './en';
import { zh } from './zh';

export type Language = 'en' | 'zh';
const KEY = 'sallyport-language'; // a preference, no secret

function first(): Language {
  const kept = localStorage.getItem(KEY);
  if (kept === 'en' || kept === 'zh') return kept;
  return navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

export const language = signal<Language>(first());
export const texts = computed<Texts>(() => (language.value === 'zh' ? zh : en));

language.subscribe((value) => {
  document.documentElement.lang = value === 'zh' ? 'zh-CN' : 'en';
});

export function speak(value: Language): void {
  localStorage.setItem(KEY, value);
  language.value = value;
}
