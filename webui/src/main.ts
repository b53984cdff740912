import './access/link'; // before anything reads the address
import { mount } from 'svelte';
import './app.css';
import { me } from './access/me.svelte';
import { useLanguage } from './i18n/text.svelte';
import Root from './Root.svelte';

// The language first, so that no text changes before the eyes; and who one is, so that no page
// is seen that one may not see.
// Nothing is awaited while this module runs: other pages import from it.
const language = useLanguage().catch(() => undefined);
void Promise.all([language, me.arrive(language)]).then(() => mount(Root, { target: document.getElementById('app')! }));
