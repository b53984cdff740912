// Short notes about what was done, some of which can be undone for a while.

export interface Toast {
  id: number;
  text: string;
  bad: boolean;
  until: number;
  undo?: () => Promise<void>;
  /** The same from a shell, for what is done without a form. */
  curl?: string;
}

const shown = 6000;
const undoable = 30_000;

class Toasts {
  list = $state<Toast[]>([]);
  #next = 0;

  say(text: string, bad = false, curl?: string) {
    this.#add({ id: ++this.#next, text, bad, curl, until: Date.now() + (bad ? 2 * shown : shown) });
  }

  /** offer says what was done and offers to take it back. */
  offer(text: string, undo: () => Promise<void>) {
    this.#add({ id: ++this.#next, text, bad: false, until: Date.now() + undoable, undo });
  }

  drop(id: number) {
    this.list = this.list.filter((t) => t.id !== id);
  }

  /** undo takes the newest thing back that can be; false when there is none. */
  undo(): boolean {
    const last = this.list.findLast((t) => t.undo);
    if (!last?.undo) return false;
    const undo = last.undo;
    this.drop(last.id);
    undo().catch((err: unknown) => this.say(err instanceof Error ? err.message : String(err), true));
    return true;
  }

  #add(toast: Toast) {
    this.list = [...this.list.slice(-3), toast];
    setTimeout(() => this.drop(toast.id), toast.until - Date.now());
  }
}

export const toasts = new Toasts();
