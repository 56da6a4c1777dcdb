/** Waits for rounds of the task queue: all that needs no clock to go on has gone on then. */
export async function rounds(count = 12): Promise<void> {
  for (let round = 0; round < count; round++) await new Promise((resolve) => setTimeout(resolve, 0));
}

/** Waits for a condition that needs no clock, and fails when it does not come. */
export async function until(holds: () => boolean, what: string): Promise<void> {
  for (let round = 0; round < 1_000; round++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  throw new Error(`never came: ${what}`);
}

/** A promise that a test settles by hand. */
export function gate<T = void>(): { promise: Promise<T>; open(value: T): void; fail(error: unknown): void } {
  let open: (value: T) => void = () => {};
  let fail: (error: unknown) => void = () => {};
  const promise = new Promise<T>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { promise, open, fail };
}
