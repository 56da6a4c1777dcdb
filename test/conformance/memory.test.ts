import { describe, expect, it } from "vitest";
import { describeKernel, describeStorage } from "../../src/conformance.js";
import { memoryStorage } from "../../src/memory.js";

async function open() {
  const storage = memoryStorage();
  return { storage, reopen: async () => storage, dispose: async () => undefined };
}

describeStorage("memory", open, { describe, it, expect });
describeKernel("memory", open, { describe, it, expect });
