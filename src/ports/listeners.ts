/** Calls every listener. An error that one throws is reported as uncaught, and the other listeners are still called. */
export function tellEach<T>(listeners: Iterable<(told: T) => void>, told: T): void {
  for (const listener of [...listeners]) {
    try {
      listener(told);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}
