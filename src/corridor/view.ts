import { checkFunction } from "../domain/check.js";
import { tellEach } from "../ports/listeners.js";

/**
 * A value that is read while it has subscribers, in the shape of a store that a UI library takes (`useSyncExternalStore` and others). Nothing
 * is read before the first subscriber, and nothing after the last. A burst of changes is one read for each animation frame, or for 16 ms
 * where there are no frames. A change whose notice was lost is found within `timings.pollMs`.
 */
export interface View<T> {
  /** The value as it was read last: the same object until something changed. Never throws; after the end it keeps the last value. */
  get(): T;
  /** Calls `listener` after each change of the value. Returns what takes it off. Throws `invalid` where the listener is no function. */
  subscribe(listener: () => void): () => void;
}

/** The side of a view that gives its values. */
export interface OpenView<T> extends View<T> {
  /** Shows this value, and nothing after it. */
  end(last: T): void;
}

/**
 * A view that shows what `start` gives it, from its first subscriber on until what `start` returned is called after the last. `threw` is told
 * of a listener that throws.
 */
export function openView<T>(
  first: T,
  start: (show: (next: T) => void) => () => void,
  threw?: (error: unknown) => void,
): OpenView<T> {
  const listeners = new Set<() => unknown>();
  let value = first;
  let stop: (() => void) | undefined;
  let isOver = false;

  function show(next: T): void {
    if (isOver || next === value) return;
    value = next;
    tellEach(listeners, undefined, threw);
  }

  return {
    get: () => value,
    subscribe(listener) {
      checkFunction("listener", listener);
      if (isOver) return () => {};
      // The same function may be subscribed twice.
      const own = () => listener();
      listeners.add(own);
      stop ??= start(show);
      return () => {
        if (!listeners.delete(own) || listeners.size > 0) return;
        stop?.();
        stop = undefined;
      };
    },
    end(last) {
      show(last);
      isOver = true;
      listeners.clear();
      stop?.();
    },
  };
}

/** A view of its own on a shared one: it may end before the shared one does. */
export function viewOf<T>(shared: View<T>, threw: (error: unknown) => void): OpenView<T> {
  const own = openView(shared.get(), (show) => shared.subscribe(() => show(shared.get())), threw);
  let isOver = false;
  return {
    get: () => (isOver ? own.get() : shared.get()),
    subscribe: own.subscribe,
    end(last) {
      isOver = true;
      own.end(last);
    },
  };
}
