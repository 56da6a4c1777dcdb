/** Waits for a condition that needs no timer, and fails when it does not become true. */
export async function comes(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let round = 0; round < 1_000; round++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, round < 50 ? 0 : 4));
  }
  throw new Error(`never came: ${what}`);
}

/** Waits until all work that needs no timer is done. */
export async function quiet(): Promise<void> {
  for (let round = 0; round < 24; round++) await new Promise((resolve) => setTimeout(resolve, 0));
}
