const SOURCE = "onmessage = ({ data: { id, ms } }) => setTimeout(() => postMessage(id), ms);";

/** A worker's timers. Those of a hidden tab are slow. */
export function steadyTimer(): (ms: number) => Promise<void> {
  const worker = new Worker(URL.createObjectURL(new Blob([SOURCE], { type: "text/javascript" })));
  const waiting = new Map<number, () => void>();
  let lastId = 0;
  worker.onmessage = ({ data: id }) => {
    waiting.get(id)?.();
    waiting.delete(id);
  };
  return (ms) =>
    new Promise((resolve) => {
      const id = ++lastId;
      waiting.set(id, resolve);
      worker.postMessage({ id, ms });
    });
}
