import type { Work } from "../work.js";
import { due } from "./due.js";
import { memory } from "./memory.js";
import { size } from "./size.js";
import { step } from "./step.js";
import { suspendedInMemory } from "./suspended-memory.js";

/** Works in the order of the report. */
export const nodeWorks: readonly Work[] = [size, memory, step, suspendedInMemory, due];
