/**
 * Calls every listener. `threw` is told of one that throws, or whose promise rejects; the others are still called. Without `threw` the
 * error is reported as uncaught: the listener is holdfast's own.
 */
export function tellEach<T>(listeners: Iterable<(told: T) => unknown>, told: T, threw: (error: unknown) => void = report): void {
  for (const listener of [...listeners]) {
    try {
      const answer = listener(told);
      if (answer instanceof Promise) answer.catch(threw);
    } catch (error) {
      threw(error);
    }
  }
}

function report(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
