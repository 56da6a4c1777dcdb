/** Tells each of them. What one throws is its own error: it goes where uncaught errors go, and keeps nothing from the others. */
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
