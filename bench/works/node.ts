import type { Work } from "../work.js";
import { memory } from "./memory.js";
import { size } from "./size.js";
import { step } from "./step.js";

/** Works in the order of the report. */
export const nodeWorks: readonly Work[] = [size, memory, step];
