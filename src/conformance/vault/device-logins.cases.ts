import type { DevicePoll } from "../../kernel/vault/oauth-flows.js";
import { casesOn, type OpenFixture, outcomes, type Runner, refusalMismatch } from "../kit/fixture.js";
import { noCount } from "../kit/hostile.js";
import { device, other, pair, refusedFor, stored, target } from "./logins.fixture.js";

/** Logins by a device code. */
export function deviceLoginCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  promise("a device code is admitted once, and the one under way is not disturbed (R-167)", async ({ kernel, clock }) => {
    const { auth } = kernel;
    await auth.admitDevice(device);
    const before = await stored(kernel);
    expect(before.device).toEqual([
      { target, provider: "github", deviceCode: device.deviceCode, createdAtMs: clock.now(), expiresAtMs: clock.now() + 60_000 },
    ]);
    await refusedFor(auth.admitDevice({ ...device, expiresInMs: 1 }), "DeviceCodeAlreadyAdmitted", "conflict");
    await refusedFor(auth.admitDevice({ ...device, target: other, provider: "x" }), "DeviceCodeAlreadyAdmitted", "conflict");
    expect(await stored(kernel)).toEqual(before);
    await (await auth.pollDevice(device)).consume();
    await auth.admitDevice(device);
  });

  promise("an expiry that cannot be told is refused (R-167)", async ({ kernel }) => {
    const wrong: string[] = [];
    for (const [what, expiresInMs] of Object.entries({ ...noCount(), "beyond what a time can be": Number.MAX_SAFE_INTEGER })) {
      const problem = await refusalMismatch(
        kernel.auth.admitDevice({ ...device, expiresInMs: expiresInMs as never }),
        "invalid",
        "expiresInMs",
      );
      if (problem !== undefined) wrong.push(`${what}: ${problem}`);
    }
    expect(wrong).toEqual([]);
    expect((await stored(kernel)).device).toEqual([]);
  });

  promise(
    "one poll at a time has a device code; finishing, disposing and consuming let go of it (R-168)",
    async ({ kernel: { auth } }) => {
      const next = async (last: DevicePoll, end: () => PromiseLike<void>) => {
        await refusedFor(auth.pollDevice(device), "DevicePollInProgress", "conflict");
        await end();
        await end();
        await refusedFor(last.consume(), "LifecycleRejected", "conflict");
        return await auth.pollDevice(device);
      };
      await auth.admitDevice(device);
      await auth.admitDevice({ ...device, deviceCode: "another" });
      const [first, second] = await outcomes([auth.pollDevice(device), auth.pollDevice(device)]).then(({ values, codes }) => {
        expect([values.length, codes]).toEqual([1, ["conflict"]]);
        return [values[0], auth.pollDevice({ ...device, deviceCode: "another" })] as const;
      });
      if (!first) throw new Error("no poll");
      await (await second).finish();
      const third = await next(first, first.finish);
      const fourth = await next(third, () => third[Symbol.asyncDispose]());
      await fourth.consume();
      await refusedFor(fourth.consume(), "Missing", "not-found");
      await refusedFor(auth.pollDevice(device), "Missing", "not-found");
      await auth.admitDevice(device);
      await (await auth.pollDevice(device)).finish();
    },
  );

  promise("two polls that consume one code at once remove it once (R-168)", async ({ kernel, open }) => {
    const [one, two] = await pair(kernel, open);
    await kernel.auth.admitDevice(device);
    const first = await one.auth.pollDevice(device);
    const second = one === two ? first : await two.auth.pollDevice(device);
    const { values, codes } = await outcomes([first.consume(), second.consume()]);
    expect([values.length, codes]).toEqual([1, ["not-found"]]);
  });

  promise("a poll names the flow's own target and provider (R-168, R-169)", async ({ kernel: { auth } }) => {
    await auth.admitDevice(device);
    await refusedFor(auth.pollDevice({ ...device, target: other, provider: "x" }), "TargetMismatch", "conflict");
    await refusedFor(auth.pollDevice({ ...device, provider: "x" }), "ProviderMismatch", "conflict");
    await refusedFor(auth.pollDevice({ ...device, deviceCode: "x" }), "Missing", "not-found");
    await (await auth.pollDevice(device)).consume();
  });

  promise("an expiry or a release during the poll ends in Missing (R-168)", async ({ kernel: { auth }, clock }) => {
    for (const end of [() => clock.advance(device.expiresInMs), () => auth.release(target)]) {
      await auth.admitDevice(device);
      const poll = await auth.pollDevice(device);
      await end();
      await refusedFor(poll.consume(), "Missing", "not-found");
      await poll.finish();
    }
  });
}
