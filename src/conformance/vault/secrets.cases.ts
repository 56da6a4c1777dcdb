import { isHoldfastError } from "../../domain/errors.js";
import type { KeyStore } from "../../ports/seal.js";
import { casesOn, type OpenFixture, type Runner, refusal, refusalMismatch, refused } from "../kit/fixture.js";
import { noId, noText } from "../kit/hostile.js";
import { readRows } from "../kit/rows.fixture.js";
import { errorText, isInPlace } from "./vault.fixture.js";

/** Secrets: texts that no disk has in the clear. */
export function secretCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  promise("a secret is there until it is deleted, and the last value counts", async ({ kernel: { secrets } }) => {
    expect(await secrets.get("a")).toBe(undefined);
    await secrets.delete("a");
    await secrets.put("a", "one");
    await secrets.put("b", "other");
    await secrets.put("a", "two");
    expect([await secrets.get("a"), await secrets.get("b")]).toEqual(["two", "other"]);
    await secrets.delete("a");
    expect([await secrets.get("a"), await secrets.get("b")]).toEqual([undefined, "other"]);
    await secrets.put("a", "again");
    expect(await secrets.get("a")).toBe("again");
  });

  promise("any well-formed text comes back as it was", async ({ kernel: { secrets } }) => {
    for (const value of ["", " ", "\ufeffmarked", "\u0000", "é\u{1f600}\u2028", "x".repeat(100_000)]) {
      await secrets.put("a", value);
      expect((await secrets.get("a")) === value).toBe(true);
    }
  });

  promise("a value may be as large as its limit, in bytes of UTF-8, and no larger", async ({ open }) => {
    const { secrets } = await open({ limits: { payloadBytes: 8 } });
    for (const [fits, larger] of [
      ["x".repeat(8), "x".repeat(9)],
      ["é".repeat(4), "é".repeat(5)],
      ["\u{1f600}".repeat(2), "\u{1f600}".repeat(3)],
    ] as const) {
      await secrets.put("a", fits);
      await refused(secrets.put("a", larger), "invalid", "value");
      expect(await secrets.get("a")).toBe(fits);
    }
  });

  promise("what cannot be a name or a value is refused by that field, and nothing is stored", async ({ kernel: { secrets } }) => {
    await secrets.put("a", "kept");
    const wrong: string[] = [];
    const look = async (what: string, field: string, call: Promise<unknown>) => {
      const problem = await refusalMismatch(call, "invalid", field);
      if (problem !== undefined) wrong.push(`${what}: ${problem}`);
    };
    for (const [what, name] of Object.entries(noId())) {
      await look(`put ${what}`, "name", secrets.put(name as never, "x"));
      await look(`get ${what}`, "name", secrets.get(name as never));
      await look(`delete ${what}`, "name", secrets.delete(name as never));
    }
    for (const [what, value] of Object.entries({ ...noText(), "a lone surrogate": "\ud800" }))
      await look(`value ${what}`, "value", secrets.put("a", value as never));
    expect(wrong).toEqual([]);
    expect(await secrets.get("a")).toBe("kept");
  });

  promise("kernels of one place share secrets, unless they stay in one kernel's memory", async ({ kernel, open }) => {
    await kernel.secrets.put("a", "one");
    const second = await open();
    const isShared = await isInPlace(second);
    expect(await second.secrets.get("a")).toBe(isShared ? "one" : undefined);
    await second.secrets.put("a", "two");
    expect(await kernel.secrets.get("a")).toBe(isShared ? "two" : "one");
  });

  promise("a secret outlives its kernel as long as the place holds it", async ({ kernel, restart, open }) => {
    await kernel.secrets.put("a", "kept");
    await restart();
    const later = await open();
    expect(await later.secrets.get("a")).toBe((await isInPlace(later)) ? "kept" : undefined);
  });

  promise("secrets are sealed on any storage under a key that the app keeps, and the key is in no row (A-30)", async (setup) => {
    const { kernel, open } = setup;
    if (!(globalThis as { crypto?: Partial<Crypto> }).crypto?.subtle) return;
    await kernel.close();
    let key: CryptoKey | Uint8Array | undefined;
    const keys: KeyStore = {
      load: async () => key,
      async store(made) {
        key = made;
      },
    };
    const first = await open({ keys });
    expect((await first.status()).secrets).toBe("sealed");
    await first.secrets.put("a", "mine");
    expect([key instanceof Uint8Array && key.length, await readRows(setup, "sealingKeys")]).toEqual([32, []]);
    const [row] = await readRows(setup, "sealed");
    expect([row?.sealed instanceof Uint8Array, row?.plain]).toEqual([true, undefined]);
    const second = await open({ keys });
    expect(await second.secrets.get("a")).toBe("mine");
    key = undefined;
    await refused(second.secrets.get("a"), "read-failed");
  });

  promise("two kernels that need a key first agree on one", async ({ kernel, open }) => {
    const second = await open();
    if (!(await isInPlace(kernel))) return;
    await Promise.all([kernel.secrets.put("a", "mine"), second.secrets.put("b", "yours")]);
    const third = await open();
    for (const { secrets } of [kernel, second, third])
      expect([await secrets.get("a"), await secrets.get("b")]).toEqual(["mine", "yours"]);
  });

  promise("no revision of a secret comes a second time, also after it was deleted", async (setup) => {
    const { kernel } = setup;
    if (!(await isInPlace(kernel))) return;
    const seen: unknown[] = [];
    for (const value of ["one", "two", "three", "four"]) {
      await kernel.secrets.put("a", value);
      if (value === "two") await kernel.secrets.put("a", value);
      seen.push((await readRows(setup, "sealed")).map(({ revision }) => revision));
      await kernel.secrets.delete("a");
      await kernel.secrets.delete("a");
      expect(await kernel.secrets.get("a")).toBe(undefined);
    }
    expect(seen).toEqual([[1], [4], [6], [8]]);
    expect(await readRows(setup, "sealed")).toEqual([]);
  });

  promise("no secret is called as the login flows are, and these are no secret", async ({ kernel }) => {
    await kernel.secrets.put("oauth", "mine");
    expect(await kernel.runtime.loadAuthOAuthFlowSnapshot()).toEqual(undefined);
    await kernel.runtime.persistAuthOAuthFlowSnapshot(Uint8Array.of(1));
    expect(await kernel.secrets.get("oauth")).toBe("mine");
    await kernel.secrets.delete("oauth");
    expect(await kernel.runtime.loadAuthOAuthFlowSnapshot()).toEqual(Uint8Array.of(1));
  });

  promise("names that are names of an object's own things are plain names", async ({ kernel: { secrets } }) => {
    const names = ["__proto__", "constructor", "toString"];
    for (const name of names) expect(await secrets.get(name)).toBe(undefined);
    for (const name of names) await secrets.put(name, name);
    expect(await Promise.all(names.map((name) => secrets.get(name)))).toEqual(names);
  });

  promise("a refusal shows nothing of the value (R-174)", async ({ kernel, open }) => {
    const secret = "hunter2-hunter2";
    const small = await open({ limits: { payloadBytes: 4 } });
    await kernel.close();
    for (const error of [await refusal(small.secrets.put("a", secret)), await refusal(kernel.secrets.put("a", secret))]) {
      expect(isHoldfastError(error)).toBe(true);
      expect(errorText(error).includes("hunter2")).toBe(false);
    }
  });

  promise("a closed kernel gives and takes no secrets", async ({ kernel }) => {
    await kernel.close();
    await refused(kernel.secrets.put("a", "x"), "closed");
    await refused(kernel.secrets.get("a"), "closed");
    await refused(kernel.secrets.delete("a"), "closed");
  });
}
