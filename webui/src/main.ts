import { mount } from 'svelte';
import './app.css';
import App from './App.svelte';
import { useLanguage } from './i18n/text.svelte';

// The language first, so that no text changes before the eyes.
await useLanguage().catch(() => undefined);
mount(App, { target: document.getElementById('app')! });
