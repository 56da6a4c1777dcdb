/** The longest delay that a timer takes. */
const FOREVER_MS = 2_147_483_647;

let holders = 0;
let timer: ReturnType<typeof setInterval> | undefined;

/**
 * Keeps a Node program alive until the returned function is called: kernels' own timers and channels do not. Elsewhere the timer
 * does nothing. All holders share one timer.
 */
export function keepAlive(): () => void {
  let isHeld = true;
  if (holders++ === 0) timer = setInterval(() => {}, FOREVER_MS);
  return () => {
    if (!isHeld) return;
    isHeld = false;
    if (--holders === 0) clearInterval(timer);
  };
}
