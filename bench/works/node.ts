import type { Work } from "../work.js";
import { memory } from "./memory.js";
import { size } from "./size.js";
import { step } from "./step.js";

/** In the order of the report. */
export const nodeWorks: readonly Work[] = [size, memory, step];
