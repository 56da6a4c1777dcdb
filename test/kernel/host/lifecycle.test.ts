import { afterEach, expect, it } from "vitest";
import { type ErrorCode, HoldfastError } from "../../../src/domain/errors.js";
import { bench, closeBenches } from "../hosts.js";

afterEach(closeBenches);

it.each<[ErrorCode]>([["unavailable"], ["read-failed"], ["quota-exceeded"], ["write-failed"]])(
  "trouble of the storage is told as %s, never as an agent that is not registered (Y-8)",
  async (code) => {
    const { kernel, probed } = await bench({ loop: "off" });
    await kernel.lifecycle.register("a");
    probed.hooks.open = () => {
      throw new HoldfastError(code, "trouble");
    };
    for (const call of ["register", "heartbeat", "deregister", "get"] as const)
      await expect(kernel.lifecycle[call]("a"), call).rejects.toMatchObject({ code });
    await expect(kernel.lifecycle.list()).rejects.toMatchObject({ code });
    await expect(kernel.agent("b")).rejects.toMatchObject({ code });
    await expect(kernel.hosts()).rejects.toMatchObject({ code });
    probed.hooks = {};
    expect(await kernel.lifecycle.list()).toMatchObject([{ agentId: "a", registration: "registered", incarnation: 1 }]);
  },
);
