import './access/link'; // before anything reads the address
import { mount } from 'svelte';
import './app.css';
import { me } from './access/me.svelte';
import { useLanguage } from './i18n/text.svelte';
import Root from './Root.svelte';

// The language first, so that no text changes before the eyes; and who one is, so that no page
// is seen that one may not see.
const language = useLanguage().catch(() => undefined);
await Promise.all([language, me.arrive(language)]);
mount(Root, { target: document.getElementById('app')! });
