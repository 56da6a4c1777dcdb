import type { Kernel } from "../../../kernel/kernel.js";

export async function typesOf(kernel: Kernel, processId: string): Promise<string[]> {
  return (await kernel.processes.eventsAfter(processId, 0)).map(({ eventType }) => eventType);
}

export const never = () => new Promise<never>(() => {});
