// The worker that lays out JSON.
import { layJSON } from './json';

addEventListener('message', (e: MessageEvent<string>) => postMessage(layJSON(e.data)));
