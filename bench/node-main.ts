// The process that runs Node's works, one after another.
import { measure, scaled } from "./measure.js";
import type { NodeOrders } from "./node.js";
import type { Bench } from "./work.js";
import { nodeWorks } from "./works/node.js";

const { works, quick, peers } = JSON.parse(process.argv[2] as string) as NodeOrders;
const bench: Bench = {
  ...scaled({ quick, peers }),
  heap: async () => process.memoryUsage().heapUsed,
  openTab: () => Promise.reject(new Error("Node has no tabs")),
};
for (const work of nodeWorks) if (works.includes(work.name)) process.send?.(await measure(work, bench));
process.disconnect();
