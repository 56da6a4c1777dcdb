/**
 * Virtual time. What is due runs in order of its time, and in the order in which it was asked for; between two of them all promises that
 * can settle do. No real timer decides an order.
 */
export interface Timeline {
  readonly nowMs: number;
  /** Returns its cancel. */
  after(delayMs: number, run: () => void): () => void;
  /** Runs until nothing is due before `endMs`, or `isOver` says so. */
  run(endMs: number, isOver: () => boolean): Promise<void>;
  close(): void;
}

interface Entry {
  readonly atMs: number;
  readonly order: number;
  run: (() => void) | undefined;
}

export function createTimeline(): Timeline {
  const heap: Entry[] = [];
  const settling = settler();
  let nowMs = 0;
  let order = 0;

  return {
    get nowMs() {
      return nowMs;
    },
    after(delayMs, run) {
      const entry: Entry = { atMs: nowMs + Math.max(0, Math.ceil(delayMs)), order: order++, run };
      push(heap, entry);
      return () => {
        entry.run = undefined;
      };
    },
    async run(endMs, isOver) {
      await settling.settled();
      for (let next = heap[0]; next && next.atMs <= endMs && !isOver(); next = heap[0]) {
        pop(heap);
        if (!next.run) continue;
        nowMs = next.atMs;
        next.run();
        await settling.settled();
      }
      if (!isOver()) nowMs = Math.max(nowMs, endMs);
    },
    close: settling.close,
  };
}

/** A task of its own is only begun when no promise is left to settle. */
function settler(): { settled(): Promise<void>; close(): void } {
  const { port1, port2 } = new MessageChannel();
  let resolve = () => {};
  port1.onmessage = () => resolve();
  return {
    settled() {
      return new Promise((done) => {
        resolve = done;
        port2.postMessage(0);
      });
    },
    close() {
      port1.close();
    },
  };
}

const isDueBefore = (one: Entry, other: Entry) => one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);

function push(heap: Entry[], entry: Entry): void {
  let at = heap.push(entry) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!isDueBefore(entry, heap[parent] as Entry)) break;
    heap[at] = heap[parent] as Entry;
    at = parent;
  }
  heap[at] = entry;
}

function pop(heap: Entry[]): void {
  const last = heap.pop() as Entry;
  if (heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && isDueBefore(heap[child + 1] as Entry, heap[child] as Entry)) child++;
    if (!isDueBefore(heap[child] as Entry, last)) break;
    heap[at] = heap[child] as Entry;
    at = child;
  }
  heap[at] = last;
}
