import { describe, expect, it } from "vitest";
import { describeConformance } from "../../src/conformance.js";
import { memoryStorage } from "../../src/memory.js";

describeConformance(
  "memory",
  async () => {
    const storage = memoryStorage();
    return { storage, reopen: async () => storage, dispose: async () => undefined };
  },
  { describe, it, expect },
);
