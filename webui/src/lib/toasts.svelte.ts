// Short notes about what was done, some of which can be undone for a while.

export interface Toast {
  id: number;
  text: string;
  bad: boolean;
  until: number;
  /** How to take it back, and the question to ask before: what of what becomes what. */
  undo?: { question: string; run: () => Promise<void> };
  /** The same from a shell, for what is done without a form. */
  curl?: string;
}

const shown = 6000;
const undoable = 30_000;

class Toasts {
  list = $state<Toast[]>([]);
  /** What may be taken back, once the question of it is answered. */
  asking = $state.raw<Toast>();
  #next = 0;

  say(text: string, bad = false, curl?: string) {
    this.#add({ id: ++this.#next, text, bad, curl, until: Date.now() + (bad ? 2 * shown : shown) });
  }

  /** offer says what was done and offers to take it back. */
  offer(text: string, question: string, run: () => Promise<void>) {
    this.#add({ id: ++this.#next, text, bad: false, until: Date.now() + undoable, undo: { question, run } });
  }

  drop(id: number) {
    this.list = this.list.filter((t) => t.id !== id);
  }

  /** ask asks whether to take something back, the newest if none is named; false when there is none. */
  ask(toast = this.list.findLast((t) => t.undo)): boolean {
    this.asking = toast;
    return toast !== undefined;
  }

  /** answer ends the question. */
  answer(yes: boolean) {
    const toast = this.asking;
    this.asking = undefined;
    if (!yes || !toast?.undo) return;
    this.drop(toast.id);
    toast.undo.run().catch((err: unknown) => this.say(err instanceof Error ? err.message : String(err), true));
  }

  #add(toast: Toast) {
    this.list = [...this.list.slice(-3), toast];
    setTimeout(() => this.drop(toast.id), toast.until - Date.now());
  }
}

export const toasts = new Toasts();
