/** While it runs, being asked again any number of times means once more. */
export function oneAtATime(run: () => Promise<void>): () => void {
  let running = false;
  let again = false;
  const start = () => {
    again = running;
    if (running) return;
    running = true;
    void run().finally(() => {
      running = false;
      if (again) start();
    });
  };
  return start;
}
