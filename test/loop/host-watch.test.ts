import { describe, expect, it } from "vitest";
import { hostLockName } from "../../src/kernel/host/ids.js";
import { watchHosts } from "../../src/loop/host-watch.js";
import type { Locks } from "../../src/ports/locks.js";
import { gate, rounds } from "../kernel/rounds.js";
import { lockService } from "./locks-double.js";

function watcher(locks: Locks | undefined) {
  const deaths: string[] = [];
  const watch = watchHosts({
    locks,
    databaseId: "db",
    onDeath: () => deaths.push([...watch.dead].join()),
    onFault: (error) => deaths.push(String(error)),
  });
  return { watch, deaths };
}

describe("the watch over hosts", () => {
  it("knows of no host's life or death where there are no Web Locks", async () => {
    const { watch, deaths } = watcher(undefined);
    expect(watch.isAlive("a")).toBe(false);
    watch.only(new Set(["a", "b"]));
    await rounds();
    expect(watch.isAlive("a")).toBe(false);
    expect([...watch.dead]).toEqual([]);
    expect(deaths).toEqual([]);
  });

  it("takes a host for alive while its lock is held, and for dead once that fell free, until it is forgotten", async () => {
    const service = lockService();
    const held = gate();
    void service.client("a").request(hostLockName("db", "a"), () => held.promise);
    const { watch, deaths } = watcher(service.client("b"));
    await rounds();
    expect(watch.isAlive("a")).toBe(true);
    await rounds();
    expect([...watch.dead]).toEqual([]);
    held.open();
    await rounds();
    expect(watch.isAlive("a")).toBe(false);
    expect(deaths).toEqual(["a"]);
    watch.forget("a");
    expect([...watch.dead]).toEqual([]);
  });

  it("does not hear of a host that it watches no longer", async () => {
    const service = lockService();
    const held = gate();
    void service.client("a").request(hostLockName("db", "a"), () => held.promise);
    const { watch, deaths } = watcher(service.client("b"));
    await rounds();
    watch.only(new Set(["a"]));
    watch.only(new Set());
    held.open();
    await rounds();
    expect([...watch.dead]).toEqual([]);
    expect(deaths).toEqual([]);
  });
});
