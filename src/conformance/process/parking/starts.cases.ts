import { casesOn, type OpenFixture, type Runner, refused, success } from "../../kit/fixture.js";

const DAY = 24 * 60 * 60 * 1_000;

/** Processes that no host runs before a time. */
export function laterStartCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  promise("no host runs a process before its startAtMs, and one does then (F-10)", async ({ clock, kernel, open }) => {
    const begun: number[] = [];
    const host = await open({ loop: "inline", handlers: { job: () => void begun.push(clock.now()) } });
    await clock.advance(0);
    const startAtMs = clock.now() + 40_000;
    const handle = await host.start("job", { id: "p", startAtMs });
    expect((await handle.record())?.startAtMs).toBe(startAtMs);
    await refused(kernel.processes.claimProcessLease("p", "by hand", 1_000), "lease-held");
    await clock.advance(39_999);
    expect(begun).toEqual([]);
    await clock.advance(1_001);
    expect(begun.map((at) => at >= startAtMs && at <= startAtMs + 1_000)).toEqual([true]);
    expect(await host.processes.awaitProcess("p")).toEqual(success(null));
    expect((await kernel.processes.getProcess("p"))?.startAtMs).toBe(startAtMs);
  });

  promise("a startAtMs that has passed starts at once (F-10)", async ({ clock, open }) => {
    const host = await open({ loop: "inline", handlers: { job: () => 1 } });
    for (const startAtMs of [0, clock.now()])
      expect(await (await host.start("job", { startAtMs })).outcome()).toEqual(success(1));
  });

  promise("a second start of an id changes no time: that of the first counts (F-10)", async ({ clock, kernel }) => {
    const startAtMs = clock.now() + DAY;
    const input = { type: "task" as const, name: "job" };
    await kernel.start({ id: "p", input, startAtMs });
    for (const again of [{ startAtMs: startAtMs - 1_000 }, {}]) {
      const handle = await kernel.start({ id: "p", input, ...again });
      expect((await handle.record())?.startAtMs).toBe(startAtMs);
    }
    await kernel.start({ id: "q", input });
    expect((await (await kernel.start({ id: "q", input, startAtMs })).record())?.startAtMs).toBe(undefined);
  });

  promise("a child has a startAtMs, too, and a tool call and a session's turn (F-10)", async ({ clock, kernel, open }) => {
    const startAtMs = clock.now() + DAY;
    const host = await open({
      loop: "inline",
      handlers: { parent: async ({ start }) => void (await start("c", "job", { id: "child", startAtMs })) },
    });
    await (await host.start("parent")).outcome();
    await kernel.start({ id: "call", input: { type: "tool_call", call: { callId: "1", toolName: "t", args: null } }, startAtMs });
    await kernel.start({ id: "turn", input: { type: "session_turn", sessionId: "s", input: "hi" }, startAtMs });
    for (const id of ["child", "call", "turn"]) {
      expect((await kernel.processes.getProcess(id))?.startAtMs).toBe(startAtMs);
      await refused(kernel.processes.claimProcessLease(id, "by hand", 1_000), "lease-held");
    }
  });

  promise("a startAtMs that is no whole number of milliseconds, or for external work, is invalid (F-10)", async ({ kernel }) => {
    const input = { type: "task" as const, name: "job" };
    const external = { type: "external" as const, metadata: null };
    for (const startAtMs of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, "1", null, new Date(0)] as number[]) {
      await refused(kernel.start("job", { startAtMs }), "invalid");
      await refused(kernel.start({ input, startAtMs }), "invalid");
    }
    await refused(kernel.start({ input: external, startAtMs: 0 }), "invalid");
    expect(await kernel.processes.list()).toEqual([]);
  });
}
