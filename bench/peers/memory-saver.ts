import { emptyCheckpoint, MemorySaver } from "@langchain/langgraph-checkpoint";
import { PAYLOAD } from "../ways/log.js";

/** Puts a checkpoint with the payload in its only channel, each time under a new id. */
export function memorySaver(): () => Promise<unknown> {
  const saver = new MemorySaver();
  let count = 0;
  return () =>
    saver.put(
      { configurable: { thread_id: "p", checkpoint_ns: "" } },
      { ...emptyCheckpoint(), id: String(count++).padStart(10, "0"), channel_values: { messages: PAYLOAD } },
      { source: "loop", step: count, parents: {} },
    );
}
