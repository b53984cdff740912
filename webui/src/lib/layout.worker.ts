// Lays out JSON aside from the page.
import { layJSON } from './json';

addEventListener('message', (e: MessageEvent<string>) => postMessage(layJSON(e.data)));
