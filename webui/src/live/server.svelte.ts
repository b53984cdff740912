// The newest figures of the server, for the header and the overview.

import type { ServerFigures } from './frames';
import { live } from './live.svelte';

class ServerNow {
  figures = $state.raw<ServerFigures | undefined>();
  time = $state(0);

  follow() {
    return live.watch('server', {}, (data, time) => {
      this.figures = data;
      this.time = time;
    });
  }
}

export const serverNow = new ServerNow();
